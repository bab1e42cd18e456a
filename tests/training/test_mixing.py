"""Mixup and CutMix: the formulas, one share for all views of a batch, and nothing drawn from anybody else."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp

from benchmark.training.policies import Mixing

LABELS = torch.tensor([0, 1, 2, 1, 0])
SURE = torch.eye(3)[LABELS]


def batch() -> Tensor:
    return torch.randn(3, 5, 6, 8, 2).movedim(-1, -3)


def params(transform: MixUp | CutMix, views: Tensor, seed: int) -> dict[str, Any]:
    """What torchvision draws from that seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn: dict[str, Any] = transform.make_params([views[0]])
    return drawn


def test_mixup_exactly() -> None:
    views = batch()
    mixed, labels = Mixing("mixup", 0.4, 3)(views, LABELS, 11)
    share = params(MixUp(alpha=0.4, num_classes=3), views, 11)["lam"]
    assert isinstance(share, float)
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * views + (1 - share) * views.roll(1, 1))
    torch.testing.assert_close(labels, share * SURE + (1 - share) * SURE.roll(1, 0))


def test_cutmix_exactly() -> None:
    views = batch()
    mixed, labels = Mixing("cutmix", 1.0, 3)(views, LABELS, 2)
    drawn = params(CutMix(alpha=1.0, num_classes=3), views, 2)
    left, top, right, bottom = drawn["box"]
    wanted = views.clone()
    wanted[..., top:bottom, left:right] = views.roll(1, 1)[..., top:bottom, left:right]
    assert torch.equal(mixed, wanted)
    share = 1 - (bottom - top) * (right - left) / 48
    assert 0 < share < 1
    torch.testing.assert_close(labels, share * SURE + (1 - share) * SURE.roll(1, 0))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_all_views_are_mixed_alike_and_the_first_whatever_their_number(kind: str) -> None:
    views, mixing = batch(), Mixing(kind, 1.0, 3)  # type: ignore[arg-type]
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
    made = batch()
    torch.set_rng_state(state)
    return made
