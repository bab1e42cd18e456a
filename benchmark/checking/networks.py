"""``bench check --backbone``: any network against the contract, of the catalogue, a library's or a plug-in's."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors.torch import save
from torch import Tensor, nn

from benchmark.checking.cases import Case, ContractError, difference, distance, trainable
from benchmark.checking.check import ClauseResult, check_case, checked, faults, own_randomness
from methods import backbones, registry
from methods.backbones import Backbone, Network
from methods.errors import InputError, message_of
from methods.peers import BranchedPeers, SeparatePeers

ALL = "all"
"""The word for every backbone of the catalogue and of the plug-ins."""

SIDES = (8, 28, 32, 64, 96, 224)
"""Of the images: 8x8 digits, 28x28 grey images, CIFAR, and larger ones for networks that take no smaller."""

BATCH_SIZES = (1, 2, 3, 7)
TRAINED_ON = 5
"""Images of a training step: an odd number."""

TOLERANCE = 1e-4
"""Of logits that must be the same to rounding, relative to the largest one."""


@dataclass(frozen=True)
class NetworkCase:
    """One shape of images under which a backbone is checked."""

    label: str  # what is special about it
    name: str  # of the backbone, as on the command line
    plugins: tuple[str, ...] = ()  # files that define further backbones
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
        """Return a whole network initialised from a seed, in training mode."""
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


NetworkClause = Callable[[NetworkCase], None]
CLAUSES: dict[str, NetworkClause] = {}
"""Each clause, which raises a ContractError where it is broken, by its name."""


def _clause(name: str) -> Callable[[NetworkClause], NetworkClause]:
    def register(check: NetworkClause) -> NetworkClause:
        CLAUSES[name] = check
        return check

    return register


@_clause("described as it is")
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


@_clause("logits for any number of images")
def logits_for_any_number_of_images(case: NetworkCase) -> None:
    """Finite logits ``[B, C]`` in eval mode for one image and for odd numbers of them, in training mode from two on."""
    for count in BATCH_SIZES:
        for network in (case.settled, case.network()) if count > 1 else (case.settled,):
            with torch.no_grad():
                logits = network(case.images(count))
            if logits.shape != (count, case.num_classes):
                raise ContractError(f"{list(logits.shape)} for {count} images, not [{count}, {case.num_classes}]")
            if not logits.isfinite().all():
                mode = "train" if network.training else "eval"
                raise ContractError(f"not finite for {count} images in {mode} mode")


@_clause("stages compose to the forward")
def stages_compose_to_the_forward(case: NetworkCase) -> None:
    """One stage after the other, a mean over the pixels and the classifier give what the network gives."""
    network, images = case.settled, case.images(3)
    maps = images
    with torch.no_grad():
        stages = [*network.stem.children(), *network.branch.stages.children()]
        for number, (stage, channels) in enumerate(zip(stages, case.backbone.channels, strict=True)):
            maps = stage(maps)
            if maps.dim() != 4 or maps.shape[1] != channels:
                raise ContractError(f"stage {number} returns {list(maps.shape)}, not {channels} channels")
        features, logits = network.features_and_logits(images)
        own = network.branch.classifier(maps.mean((2, 3)))
    if features.shape != (3, case.backbone.features):
        raise ContractError(f"features {list(features.shape)}, not [3, {case.backbone.features}]")
    if not torch.equal(own, logits) or not torch.equal(logits, network(images)):
        raise ContractError("the stages do not compute what the network computes")


@_clause("split at each stage")
def split_at_each_stage(case: NetworkCase) -> None:
    """A stem and a branch at every stage have the network's weights, shapes and, with its weights, its logits."""
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


@_clause("float64")
def double_precision(case: NetworkCase) -> None:
    """In float64 the logits are those of float32 to rounding, and float64 throughout."""
    images = case.images(3)
    with torch.no_grad():
        expected = case.settled(images)
        found = copy.deepcopy(case.settled).double()(images.double())
    if found.dtype != torch.float64:
        raise ContractError(f"logits of {found.dtype} for images and weights in float64")
    _check_close("float64", found.float(), expected)


@_clause("channels-last")
def channels_last(case: NetworkCase) -> None:
    """The memory layout changes rounding alone."""
    images = case.images(3)
    with torch.no_grad():
        expected = case.settled(images)
        network = copy.deepcopy(case.settled).to(memory_format=torch.channels_last)
        found = network(images.to(memory_format=torch.channels_last))
    _check_close("channels-last", found, expected)


@_clause("eval mode: deterministic, image by image")
def eval_mode_deterministic(case: NetworkCase) -> None:
    """In eval mode logits are repeatable, image by image, and nothing changes."""
    network, images = case.settled, case.images(7)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        logits, again, alone = network(images), network(images), network(images[2:3])
    if not torch.equal(logits, again):
        raise ContractError("other logits the second time in eval mode")
    _check_close("an image without the others of its batch", alone, logits[2:3])
    if changed := difference(before, network.state_dict()):
        raise ContractError(f"eval mode changes {changed}")
    if any(module.training for module in network.modules()):
        raise ContractError("a part stays in train mode")


@_clause("train mode: moves no weight")
def training_moves_no_weight(case: NetworkCase) -> None:
    """A forward pass in training mode moves batch statistics at most."""
    network = case.network()
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    network(case.images(TRAINED_ON))
    if changed := difference(before, dict(network.named_parameters())):
        raise ContractError(f"a forward pass changes {changed}")
    if not all(module.training for module in network.modules()):
        raise ContractError("a part is left in eval mode")


@_clause("state restored from a file")
def state_restored_from_a_file(case: NetworkCase) -> None:
    """The state of one network makes another the same bit for bit, and can be stored."""
    try:
        save(case.settled.state_dict())
    except (RuntimeError, ValueError) as error:
        raise ContractError(f"its state cannot be stored: {message_of(error)}") from None
    other = case.network(1).eval()
    other.load_state_dict(case.settled.state_dict())
    images = case.images(3)
    with torch.no_grad():
        if not torch.equal(other(images), case.settled(images)):
            raise ContractError("another network with the same state has other logits")


@_clause("a gradient for every weight")
def gradient_for_every_weight(case: NetworkCase) -> None:
    """Every weight gets a finite gradient, and within a few steps every matrix and kernel one that is not all zero."""
    network = case.network()
    zero = {name for name, weight in trainable(network).items() if weight.dim() > 1}
    optimizer = torch.optim.SGD(trainable(network).values(), lr=0.05)
    # a residual branch may begin at zero, and a layer may be left out at random
    for step in range(4):
        optimizer.zero_grad()
        logits = network(case.images(TRAINED_ON, step))
        labels = torch.arange(TRAINED_ON) % case.num_classes
        torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
        for name, weight in trainable(network).items():
            if weight.grad is None:
                raise ContractError(f"{name} gets no gradient")
            if not weight.grad.isfinite().all():
                raise ContractError(f"the gradient of {name} is not finite")
            if weight.grad.any():
                zero.discard(name)
        if not zero:
            return
        optimizer.step()
    raise ContractError(f"the gradient of {min(zero)} is zero")


@_clause("initialised anew, and by the seed")
def initialised_by_the_seed(case: NetworkCase) -> None:
    """Two networks differ, and a seed gives the same weights again: all of them come from torch's generator."""
    if name := difference(case.network().state_dict(), case.network().state_dict()):
        raise ContractError(f"{name} is initialised from something else than torch's generator")
    torch.manual_seed(0)
    one, other = case.backbone.network(), case.backbone.network()
    for (name, weight), same in zip(trainable(one).items(), trainable(other).values(), strict=True):
        # what begins as a constant is the same in all
        if weight.dim() > 1 and torch.equal(weight, same) and weight.min() < weight.max():
            raise ContractError(f"{name} is the same in two networks")
    if {id(weight) for weight in one.parameters()} & {id(weight) for weight in other.parameters()}:
        raise ContractError("two networks share weights")


def _check_close(what: str, found: Tensor, expected: Tensor) -> None:
    apart = distance(found, expected, 1e-3)
    if not apart <= TOLERANCE:
        raise ContractError(f"{what}: logits are off by {apart:.1e} of the largest")


# ---- checking ----


def network_names(names: str, plugins: Sequence[str] = ()) -> list[str]:
    """Return the backbones that names separated by commas, or ``all``, stand for.

    Raises:
        InputError: If there is no such backbone.
    """
    if names == ALL:
        return list(backbones.available(plugins))
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        backbones.describe(name, plugins)
    return chosen


def check_network(name: str, plugins: Sequence[str] = ()) -> list[ClauseResult]:
    """Check a backbone and return the results of all clauses.

    It is checked at the smallest two sides of :data:`SIDES` that it takes, grey and in colour, then in a method of
    separate networks and one of branches.

    Raises:
        InputError: If there is no such backbone.
    """
    backbones.describe(name, plugins)
    sides: list[int] = []
    refusal = ""
    for side in SIDES:
        try:
            backbones.make(name, 5, 3, side, plugins)
        except InputError as error:
            refusal = str(error)
            continue
        sides.append(side)
        if len(sides) == 2:
            break
    if not sides:
        return [ClauseResult("", "takes images of some size", refusal)]
    given = tuple(map(str, plugins))
    cases = [
        NetworkCase(f"{sides[0]}x{sides[0]} in colour", name, given, image_size=sides[0]),
        NetworkCase(f"{sides[-1]}x{sides[-1]} grey", name, given, num_classes=2, in_channels=1, image_size=sides[-1]),
    ]
    with own_randomness():
        results = [result for case in cases for result in checked(case.label, CLAUSES, case)]
        if not faults(results):
            results += _in_methods(cases[0])
    return results


def _in_methods(case: NetworkCase) -> Iterator[ClauseResult]:
    """Check the network in the oldest of the project's own methods of each shape that needs nothing else."""
    own = [registry.load(name) for name in registry.catalogue()]
    ready = [method for method in own if not any(f.is_required() for f in method.Hyperparameters.model_fields.values())]
    for shape in (SeparatePeers, BranchedPeers):
        method = next(method for method in ready if issubclass(method, shape))
        if shape is BranchedPeers and not case.stages:
            yield ClauseResult(f"{method.name} refuses it", "says in one line that it is not cut")
            continue
        tried = Case(
            f"in {method.name}",
            method,
            {"peers": 2} if "peers" in method.Hyperparameters.model_fields else {},
            backbone=case.name,
            num_classes=case.num_classes,
            in_channels=case.in_channels,
            image_size=case.image_size,
            depth="essential",
            plugins=case.plugins,
        )
        yield from check_case(tried)
