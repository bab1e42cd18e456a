"""The contract that every backbone keeps: one function a clause, which raises a ContractError where it is broken."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors.torch import save
from torch import Tensor, nn

from benchmark.checking.comparing import ContractError
from methods import backbones
from methods.backbones import Backbone, Network
from methods.errors import InputError

BATCH_SIZES = (1, 2, 3, 7)
TRAINED_ON = 5
"""Images of a training step: an odd number."""

TOLERANCE = 1e-4
"""Of logits that must be the same to rounding, beside the largest one."""


@dataclass(frozen=True)
class NetworkCase:
    """One shape of images under which a backbone is checked.

    Attributes:
        label: What is special about it.
        name: As on the command line.
        plugins: Python files that define further backbones.
        num_classes: C.
        in_channels: Channels of the images.
        image_size: Side of the square images in pixels.
    """

    label: str
    name: str
    plugins: tuple[str, ...] = ()
    num_classes: int = 5
    in_channels: int = 3
    image_size: int = 32

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone for these images."""
        return backbones.make(self.name, self.num_classes, self.in_channels, self.image_size, self.plugins)

    @property
    def stages(self) -> int:
        """How many stages peers can share or have for themselves; 0 for a network that is not cut."""
        try:
            self.backbone.split()
        except InputError:
            return 0
        return len(self.backbone.stages)

    def network(self, seed: int = 0) -> Network:
        """Return a whole network drawn from a seed, in training mode."""
        torch.manual_seed(seed)
        return self.backbone.network().train()

    @cached_property
    def settled(self) -> Network:
        """A network in eval mode that has seen images; no clause may change it."""
        network = self.network()
        with torch.no_grad():
            network(self.images(TRAINED_ON, 1))
        return network.eval()

    def images(self, count: int, seed: int = 0) -> Tensor:
        """Return normalised images ``[count, C, H, W]``."""
        shape = count, self.in_channels, self.image_size, self.image_size
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def described_as_it_is(case: NetworkCase) -> None:
    """The fields say what the networks are."""
    backbone = case.backbone
    if backbone.name != case.name:
        raise ContractError(f"it calls itself {backbone.name!r}")
    if backbone.num_classes != case.num_classes:
        raise ContractError(f"num_classes is {backbone.num_classes}, not {case.num_classes}")
    if len(backbone.stages) != len(backbone.channels):
        raise ContractError(f"{len(backbone.stages)} stages and channels of {len(backbone.channels)}")
    linear = backbone.linear(3, 2, False)
    if [list(weight.shape) for weight in linear.parameters()] != [[2, 3]]:
        raise ContractError("linear(3, 2, False) is no linear layer of 3 inputs and 2 outputs without bias")


def logits_for_any_number_of_images(case: NetworkCase) -> None:
    """Finite logits ``[B, C]`` in eval mode for one image and for odd numbers of them, in training mode from two on."""
    for count in BATCH_SIZES:
        for network in (case.settled, case.network()) if count > 1 else (case.settled,):
            with torch.no_grad():
                logits = network(case.images(count))
            if logits.shape != (count, case.num_classes):
                raise ContractError(f"{list(logits.shape)} for {count} images, not [{count}, {case.num_classes}]")
            if not logits.isfinite().all():
                raise ContractError(f"not finite for {count} images in {_mode(network)} mode")


def stages_compose_to_the_forward(case: NetworkCase) -> None:
    """One stage after the other, a mean over the pixels and the classifier give what the network gives."""
    network, images = case.settled, case.images(3)
    maps = images
    with torch.no_grad():
        for number, (stage, channels) in enumerate(zip(_stages(network), case.backbone.channels, strict=True)):
            maps = stage(maps)
            if maps.dim() != 4 or maps.shape[1] != channels:
                raise ContractError(f"stage {number} returns {list(maps.shape)}, not {channels} channels")
        features, logits = network.features_and_logits(images)
        own = network.branch.classifier(maps.mean((2, 3)))
    if features.shape != (3, case.backbone.features):
        raise ContractError(f"features {list(features.shape)}, not [3, {case.backbone.features}]")
    if not torch.equal(own, logits) or not torch.equal(logits, network(images)):
        raise ContractError("the stages do not compute what the network computes")


def split_at_each_stage(case: NetworkCase) -> None:
    """A stem and a branch at every place have the network's weights, shapes and, with its weights, its logits."""
    whole, images = case.settled, case.images(3)
    with torch.no_grad():
        expected = whole(images)
    for split in range(1, case.stages):
        torch.manual_seed(0)
        stem, branch = case.backbone.stem(split), case.backbone.branch(split)
        network = Network(stem, branch)
        values = list(whole.state_dict().values())
        if [value.shape for value in network.state_dict().values()] != [value.shape for value in values]:
            raise ContractError(f"stem and branch at stage {split} have other weights than the whole")
        network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
        with torch.no_grad():
            maps = stem.eval()(images)
            if maps.shape[1] != case.backbone.channels[split - 1]:
                raise ContractError(f"the stem of {split} stages returns {maps.shape[1]} channels")
            if not torch.equal(branch.eval()(maps)[1], expected):
                raise ContractError(f"stem and branch at stage {split} have other logits than the whole")


def double_precision(case: NetworkCase) -> None:
    """In float64 the logits are those of float32 to rounding, and float64 throughout."""
    images = case.images(3)
    with torch.no_grad():
        expected = case.settled(images)
        found = copy.deepcopy(case.settled).double()(images.double())
    if found.dtype != torch.float64:
        raise ContractError(f"logits of {found.dtype} for images and weights in float64")
    _check_same("float64", found.float(), expected)


def channels_last(case: NetworkCase) -> None:
    """The memory layout changes rounding alone."""
    images = case.images(3)
    with torch.no_grad():
        expected = case.settled(images)
        network = copy.deepcopy(case.settled).to(memory_format=torch.channels_last)
        found = network(images.to(memory_format=torch.channels_last))
    _check_same("channels-last", found, expected)


def eval_mode_deterministic(case: NetworkCase) -> None:
    """In eval mode logits come again, image by image, and nothing changes."""
    network, images = case.settled, case.images(7)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        first, second, alone = network(images), network(images), network(images[2:3])
    if not torch.equal(first, second):
        raise ContractError("other logits the second time in eval mode")
    _check_same("an image without the others of its batch", alone, first[2:3])
    if changed := _first_difference(before, network.state_dict()):
        raise ContractError(f"eval mode changes {changed}")
    if any(module.training for module in network.modules()):
        raise ContractError("a part stays in train mode")


def training_moves_no_weight(case: NetworkCase) -> None:
    """A forward pass in training mode moves batch statistics at most."""
    network = case.network()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    network(case.images(TRAINED_ON))
    if changed := _first_difference(before, dict(network.named_parameters())):
        raise ContractError(f"a forward pass changes {changed}")
    if not all(module.training for module in network.modules()):
        raise ContractError("a part is left in eval mode")


def state_comes_back_from_a_file(case: NetworkCase) -> None:
    """The state of one network makes another the same bit for bit, and can be stored."""
    try:
        save(case.settled.state_dict())
    except (RuntimeError, ValueError) as error:
        raise ContractError(f"its state cannot be stored: {str(error).strip().splitlines()[0]}") from None
    other = case.network(1).eval()
    other.load_state_dict(case.settled.state_dict())
    images = case.images(3)
    with torch.no_grad():
        if not torch.equal(other(images), case.settled(images)):
            raise ContractError("another network with the same state has other logits")


def gradient_for_every_weight(case: NetworkCase) -> None:
    """Every weight gets a finite gradient, and within a few steps every matrix and kernel one that is not all zero."""
    network = case.network()
    still = {name for name, weight in _trained(network).items() if weight.dim() > 1}
    optimizer = torch.optim.SGD(_trained(network).values(), lr=0.05)
    # a residual branch may begin at zero, and a layer may be left out at random
    for step in range(4):
        optimizer.zero_grad()
        logits = network(case.images(TRAINED_ON, step))
        labels = torch.arange(TRAINED_ON) % case.num_classes
        torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
        for name, weight in _trained(network).items():
            if weight.grad is None:
                raise ContractError(f"{name} gets no gradient")
            if not weight.grad.isfinite().all():
                raise ContractError(f"the gradient of {name} is not finite")
        still -= {name for name, weight in _trained(network).items() if weight.grad is not None and weight.grad.any()}
        if not still:
            return
        optimizer.step()
    raise ContractError(f"the gradient of {min(still)} is zero")


def drawn_anew_and_by_the_seed(case: NetworkCase) -> None:
    """Two draws differ, and a seed gives the same weights again: all draws come from torch's generator."""
    first, again = case.network(), case.network()
    if name := _first_difference(first.state_dict(), again.state_dict()):
        raise ContractError(f"{name} is drawn from something else than torch's generator")
    torch.manual_seed(0)
    drawn = [case.backbone.network(), case.backbone.network()]
    pairs = zip(_trained(drawn[0]).items(), _trained(drawn[1]).values(), strict=True)
    for (name, one), other in pairs:
        # what begins as a constant is the same in all
        if one.dim() > 1 and torch.equal(one, other) and one.min() < one.max():
            raise ContractError(f"{name} is the same in two networks")
    shared = {id(weight) for weight in drawn[0].parameters()} & {id(weight) for weight in drawn[1].parameters()}
    if shared:
        raise ContractError("two networks share weights")


CLAUSES: Mapping[str, Callable[[NetworkCase], None]] = {
    "described as it is": described_as_it_is,
    "logits for any number of images": logits_for_any_number_of_images,
    "stages compose to the forward": stages_compose_to_the_forward,
    "split at each stage": split_at_each_stage,
    "float64": double_precision,
    "channels-last": channels_last,
    "eval mode: deterministic, image by image": eval_mode_deterministic,
    "train mode: moves no weight": training_moves_no_weight,
    "state comes back from a file": state_comes_back_from_a_file,
    "a gradient for every weight": gradient_for_every_weight,
    "drawn anew, and by the seed": drawn_anew_and_by_the_seed,
}


def _stages(network: Network) -> list[nn.Module]:
    return [*network.stem.children(), *network.branch.stages.children()]


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in network.named_parameters() if weight.requires_grad}


def _check_same(what: str, found: Tensor, expected: Tensor) -> None:
    apart = ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-3)).item()
    if not apart <= TOLERANCE:
        raise ContractError(f"{what}: logits are off by {apart:.1e} of the largest")


def _first_difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str | None:
    return next((name for name, value in ours.items() if not torch.equal(value, theirs[name])), None)


def _mode(network: nn.Module) -> str:
    return "train" if network.training else "eval"
