"""Automatic augmentation, erasing, mixup and CutMix: torchvision's operations, sampled for each image, by the batch."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import RandomErasing
from torchvision.transforms.v2 import CutMix, MixUp, RandAugment, RandomResizedCrop, TrivialAugmentWide
from torchvision.transforms.v2.functional import resized_crop

from benchmark.configuration import DataConfig
from benchmark.training import Augmentation, Normalisation
from benchmark.training.batches import ERASED_RATIO, ERASED_SHARE, erase, resized_crops, sample_boxes, sample_crops
from benchmark.training.initialisation import generator, seeded_by
from benchmark.training.policies import Mixing, Policy, PolicyName
from methods.errors import InputError

CPU = torch.device("cpu")
SIDE = 12


def pictures(count: int = 6, channels: int = 3) -> Tensor:
    source = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, channels, SIDE, SIDE), dtype=torch.uint8, generator=source)


def made(name: PolicyName) -> Policy:
    return Policy(name, SIDE, SIDE, CPU)


def test_one_operation_of_randaugment_is_always_one_of_ours_and_each_of_ours_is_met() -> None:
    policy, image = made("randaugment"), pictures(1)
    sampled = policy.sample(torch.Generator().manual_seed(0), 2000)
    changes = sampled.unique().tolist()
    # fourteen operations, nine of which have a sign
    assert len({policy.changes[change][0] for change in changes}) == 14
    assert len(changes) == 14 + 9
    ours = {policy(image, torch.tensor([[change]])).numpy().tobytes() for change in changes}
    theirs = set()
    transform = RandAugment(num_ops=1)
    for seed in range(300):
        torch.manual_seed(seed)
        theirs.add(transform(image[0]).numpy().tobytes())
    assert theirs == ours


def test_randaugment_does_two_things_one_after_the_other() -> None:
    policy, images = made("randaugment"), pictures(30)
    changes = policy.sample(torch.Generator().manual_seed(1), 30)
    first, second = changes.split(1, dim=1)
    assert torch.equal(policy(images, changes), policy(policy(images, first), second))


@pytest.mark.parametrize("size", [(2, 16), (16, 12), (32, 32)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_every_change_is_torchvisions(name: PolicyName, channels: int, size: tuple[int, int]) -> None:
    policy, images = Policy(name, *size, CPU), torch.randint(0, 256, (5, channels, *size), dtype=torch.uint8)
    images[0] = 7
    images[1] //= 50
    transform = {"randaugment": RandAugment, "trivialaugment": TrivialAugmentWide}[name]()
    changes = policy.sample(torch.Generator().manual_seed(0), 3000).unique().tolist()
    together = policy(images.repeat(len(changes), 1, 1, 1), torch.tensor(changes).repeat_interleave(5)[:, None])
    for change, ours in zip(changes, together.split(5), strict=True):
        theirs = transform._apply_image_or_video_transform(
            images, *policy.changes[change], interpolation=transform.interpolation, fill=transform._fill
        )
        assert torch.equal(ours, theirs), policy.changes[change]


class TestErasing:
    def test_the_rectangles_are_torchvisions(self) -> None:
        boxes = sample_boxes(5, 400, 0.5, 16, 8)
        erased = boxes[boxes[:, 2] > 0]
        # 200 expected, ten being the standard deviation
        assert 160 < len(erased) < 240
        top, left, height, width = erased.T.double()
        assert ((top >= 0) & (top + height <= 16) & (left >= 0) & (left + width <= 8)).all()
        # sides are rounded to whole pixels
        assert (((height + 0.5) * (width + 0.5) >= 0.02 * 128) & ((height - 0.5) * (width - 0.5) <= 0.33 * 128)).all()
        assert torch.equal(boxes, sample_boxes(5, 400, 0.5, 16, 8))
        with seeded_by(5):
            for own in boxes[torch.rand(400) < 0.5].tolist():
                box = RandomErasing.get_params(torch.empty(1, 16, 8), ERASED_SHARE, ERASED_RATIO, [0.0])[:4]
                assert own == ([0, 0, 0, 0] if box[2:] == (16, 8) else list(box))
        assert not sample_boxes(5, 9, 0.0, 16, 8).any()

    def test_sampling_leaves_torchs_generator_alone(self) -> None:
        before = torch.get_rng_state()
        sample_boxes(1, 5, 1.0, 8, 8)
        assert torch.equal(torch.get_rng_state(), before)

    def test_what_is_inside_becomes_0_in_all_channels(self) -> None:
        images = torch.ones(2, 2, 4, 5)
        erase(images, torch.tensor([[1, 2, 2, 3], [0, 0, 0, 0]]))
        wanted = torch.ones(4, 5)
        wanted[1:3, 2:5] = 0
        assert torch.equal(images[0], wanted.expand(2, 4, 5))
        assert images[1].all()


class TestResizedCrops:
    def test_they_are_torchvisions_for_the_same_rectangles(self) -> None:
        images = pictures(40)
        crops = torch.stack(
            [sample_crops(torch.Generator().manual_seed(seed), 40, 0.05, SIDE, SIDE) for seed in (0, 1)]
        )
        found = resized_crops(images, crops)
        for view, index in torch.cartesian_prod(torch.arange(2), torch.arange(40)).tolist():
            wanted = resized_crop(images[index].float(), *crops[view, index].tolist(), [SIDE, SIDE], antialias=True)
            own = found[view, index].movedim(-1, 0).float()
            # what remains is the rounding to whole values
            assert (own - wanted).abs().max() < 0.51

    def test_the_whole_image_is_the_image(self) -> None:
        images = pictures(2)
        whole = torch.tensor([0, 0, SIDE, SIDE]).expand(1, 2, 4)
        assert torch.equal(resized_crops(images, whole)[0], images.movedim(1, -1))

    def test_rectangles_are_distributed_as_torchvisions(self) -> None:
        side, smallest = 64, 0.2
        crops = sample_crops(torch.Generator().manual_seed(0), 20_000, smallest, side, side).double()
        top, left, height, width = crops.T
        assert ((top >= 0) & (top + height <= side) & (left >= 0) & (left + width <= side)).all()
        assert ((height + 0.5) * (width + 0.5) >= smallest * side**2).all()
        ratios = (width + 0.5) / (height - 0.5), (width - 0.5) / (height + 0.5)
        assert ((ratios[0] >= 3 / 4) & (ratios[1] <= 4 / 3)).all()
        theirs = RandomResizedCrop(side, (smallest, 1.0))
        with seeded_by(0):
            sampled = [theirs.make_params([torch.empty(3, side, side)]) for _ in range(4000)]
        wanted = torch.tensor([[one[key] for key in ("top", "left", "height", "width")] for one in sampled]).double()
        # four standard errors of the difference of the means
        error = (wanted.var(0) / len(wanted) + crops.var(0) / len(crops)).sqrt()
        assert ((wanted.mean(0) - crops.mean(0)).abs() < 4 * error).all()
        assert (wanted.std(0) / crops.std(0) - 1).abs().max() < 0.05

    def test_an_image_of_one_pixel_height_is_left_whole(self) -> None:
        crops = sample_crops(torch.Generator(), 5, 0.01, 1, 1)
        assert crops.tolist() == [[0, 0, 1, 1]] * 5


def augmentation(**data: Any) -> Augmentation:
    normalisation = Normalisation.of((0.5, 0.4, 0.3), (0.2, 0.2, 0.3), CPU)
    return Augmentation(pictures(), normalisation, DataConfig(**{"pad": 2, **data}))


class TestViews:
    INDICES = torch.tensor([4, 1, 2])

    def views(self, count: int = 2, **data: Any) -> Tensor:
        made = augmentation(**data)
        return made.views(self.INDICES, made.sample(0, "augmentation", 1, count))

    def test_none_is_the_image_itself(self) -> None:
        made = augmentation(augment="none")
        for view in self.views(augment="none"):
            assert torch.equal(view, made.normalisation(made.images[self.INDICES].movedim(1, -1)))

    @pytest.mark.parametrize(
        "data", [{"augment": "randaugment"}, {"augment": "trivialaugment"}, {"erase": 0.9}, {"crop": "resized"}]
    )
    def test_the_first_view_does_not_depend_on_how_many_there_are(self, data: dict[str, Any]) -> None:
        one, three = self.views(1, **data), self.views(3, **data)
        assert torch.equal(one[0], three[0])
        assert not torch.equal(three[0], three[1])

    def test_an_image_is_changed_alike_whatever_its_batch(self) -> None:
        made = augmentation(augment="randaugment", erase=0.5, crop="resized")
        sampled = made.sample(0, "augmentation", 1, 1)
        every = made.views(torch.arange(6), sampled)
        assert torch.equal(made.views(self.INDICES, sampled), every[:, self.INDICES])

    def test_the_policy_changes_the_very_crops_of_the_standard_augmentation(self) -> None:
        made, plain = augmentation(augment="trivialaugment"), augmentation()
        ours, theirs = (one.sample(0, "augmentation", 1, 2) for one in (made, plain))
        assert torch.equal(ours.windows, theirs.windows)
        policy = Policy("trivialaugment", SIDE, SIDE, CPU)
        for view in range(2):
            changes = policy.sample(generator(0, "augmentation-policy", 1, view), 6)
            mine = changes[self.INDICES]
            # from what the network sees back to pixels
            seen = plain.views(self.INDICES, theirs)[view].movedim(1, -1) - plain.normalisation.shift
            pixels = (seen / plain.normalisation.scale).round().to(torch.uint8)
            wanted = plain.normalisation(policy(pixels.movedim(-1, 1), mine).movedim(1, -1).contiguous())
            torch.testing.assert_close(made.views(self.INDICES, ours)[view], wanted)

    def test_views_keep_their_layout(self) -> None:
        for views in (self.views(), self.views(augment="randaugment", erase=0.9), self.views(crop="resized")):
            assert views[0].is_contiguous(memory_format=torch.channels_last)

    def test_a_policy_takes_grey_images_or_three_colours(self) -> None:
        images, normalisation = pictures(2, 2), Normalisation.of((0.5, 0.5), (0.5, 0.5), CPU)
        with pytest.raises(InputError, match=r"randaugment.* 2 channels"):
            Augmentation(images, normalisation, DataConfig(augment="randaugment"))


LABELS = torch.tensor([0, 1, 2, 1, 0])
SURE = torch.eye(3)[LABELS]


def mixed_batch() -> Tensor:
    return torch.randn(3, 5, 6, 8, 2).movedim(-1, -3)


def sampled_by_torchvision(transform: MixUp | CutMix, views: Tensor, seed: int) -> dict[str, Any]:
    """What torchvision samples with that seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sampled: dict[str, Any] = transform.make_params([views[0]])
    return sampled


def test_mixup_exactly() -> None:
    views = mixed_batch()
    mixed, labels = Mixing("mixup", 0.4, 3)(views, LABELS, 11)
    share = sampled_by_torchvision(MixUp(alpha=0.4, num_classes=3), views, 11)["lam"]
    assert isinstance(share, float)
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * views + (1 - share) * views.roll(1, 1))
    torch.testing.assert_close(labels, share * SURE + (1 - share) * SURE.roll(1, 0))


def test_cutmix_exactly() -> None:
    views = mixed_batch()
    mixed, labels = Mixing("cutmix", 1.0, 3)(views, LABELS, 2)
    sampled = sampled_by_torchvision(CutMix(alpha=1.0, num_classes=3), views, 2)
    left, top, right, bottom = sampled["box"]
    wanted = views.clone()
    wanted[..., top:bottom, left:right] = views.roll(1, 1)[..., top:bottom, left:right]
    assert torch.equal(mixed, wanted)
    share = 1 - (bottom - top) * (right - left) / 48
    assert 0 < share < 1
    torch.testing.assert_close(labels, share * SURE + (1 - share) * SURE.roll(1, 0))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_all_views_are_mixed_alike_and_the_first_whatever_their_number(kind: str) -> None:
    views, mixing = mixed_batch(), Mixing(kind, 1.0, 3)  # type: ignore[arg-type]
    together, labels = mixing(views, LABELS, 5)
    for number in range(3):
        alone, same = mixing(views[number : number + 1], LABELS, 5)
        assert torch.equal(alone[0], together[number])
        assert torch.equal(same, labels)
    assert not torch.equal(labels, mixing(views, LABELS, 6)[1])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_layout_is_kept_and_torchs_generator_left_alone(kind: str) -> None:
    before = torch.get_rng_state()
    mixed, labels = Mixing(kind, 1.0, 3)(batch_of(before), LABELS, 5)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), before)
    assert mixed[0].is_contiguous(memory_format=torch.channels_last)
    assert type(mixed) is type(labels) is Tensor


def batch_of(state: Tensor) -> Tensor:
    made = mixed_batch()
    torch.set_rng_state(state)
    return made


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_images_one_by_one(name: PolicyName, channels: int) -> None:
    policy, images = made(name), pictures(40, channels)
    before = images.clone()
    changes = policy.sample(torch.Generator().manual_seed(1), 40)
    together = policy(images, changes)
    alone = [policy(images[n : n + 1], changes[n : n + 1]) for n in range(40)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(images, before)
    assert not torch.equal(together, images)
