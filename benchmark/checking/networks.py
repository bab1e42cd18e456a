"""``bench check --backbone``: any network against the contract, of the catalogue, a library's or a plug-in's."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from benchmark.checking import cases
from benchmark.checking.cases import Case, Clauses, ContractError, Depth, require, require_same
from benchmark.checking.check import ClauseResult, check_case, checked, faults, own_randomness
from benchmark.configuration import Request, complete_methods
from methods import backbones, registry
from methods.backbones import Backbone, Network
from methods.errors import InputError, message_of
from methods.peers import BranchedPeers, SeparatePeers

SIDES = (8, 28, 32, 64, 96, 224)
"""Of the images: 8x8 digits, 28x28 grey images, CIFAR, and larger ones for networks that take no smaller."""

TRAINED_ON = 5
"""Images of a training step: an odd number."""

CLAUSES: Clauses = {}


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


@cases.clause(CLAUSES, "described as it is")
def _described_as_it_is(case: NetworkCase) -> None:
    backbone = case.backbone
    classes, stages, channels = backbone.num_classes, len(backbone.stages), len(backbone.channels)
    require(backbone.name == case.name, f"it calls itself {backbone.name!r}")
    require(classes == case.num_classes, f"num_classes is {classes}, not {case.num_classes}")
    require(stages == channels, f"{stages} stages and channels of {channels}")
    shapes = [list(weight.shape) for weight in backbone.linear(3, 2, False).parameters()]
    require(shapes == [[2, 3]], "linear(3, 2, False) is no linear layer of 3 inputs and 2 outputs without bias")


@cases.clause(CLAUSES, "logits for any number of images")
@torch.no_grad()
def _logits_for_any_number_of_images(case: NetworkCase) -> None:
    for count in (1, 2, 3, 7):
        # batch statistics of one image are not defined
        for network in (case.settled, case.network())[: min(2, count)]:
            logits, classes = network(case.images(count)), case.num_classes
            shaped = logits.shape == (count, classes)
            require(shaped, f"{list(logits.shape)} for {count} images, not [{count}, {classes}]")
            mode = "train" if network.training else "eval"
            require(logits.isfinite().all(), f"not finite for {count} images in {mode} mode")


@cases.clause(CLAUSES, "stages compose to the forward")
@torch.no_grad()
def _stages_compose_to_the_forward(case: NetworkCase) -> None:
    network, images = case.settled, case.images(3)
    maps = images
    stages = [*network.stem.children(), *network.branch.stages.children()]
    for number, (stage, channels) in enumerate(zip(stages, case.backbone.channels, strict=True)):
        maps = stage(maps)
        right = maps.dim() == 4 and maps.shape[1] == channels
        require(right, f"stage {number} returns {list(maps.shape)}, not {channels} channels")
    features, logits = network.features_and_logits(images)
    pooled = features.shape == (3, case.backbone.features)
    require(pooled, f"features {list(features.shape)}, not [3, {case.backbone.features}]")
    own = network.branch.classifier(maps.mean((2, 3)))
    equal = torch.equal(own, logits) and torch.equal(logits, network(images))
    require(equal, "the stages do not compute what the network computes")


@cases.clause(CLAUSES, "split at each stage")
@torch.no_grad()
def _split_at_each_stage(case: NetworkCase) -> None:
    images, values = case.images(3), list(case.settled.state_dict().values())
    expected = case.settled(images)
    for split in range(1, case.stages):
        torch.manual_seed(0)
        stem, branch = case.backbone.stem(split), case.backbone.branch(split)
        network, parts = Network(stem, branch), f"stem and branch at stage {split}"
        alike = [value.shape for value in network.state_dict().values()] == [value.shape for value in values]
        require(alike, f"{parts} have other weights than the whole")
        network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
        maps = stem.eval()(images)
        right = maps.shape[1] == case.backbone.channels[split - 1]
        require(right, f"the stem of {split} stages returns {maps.shape[1]} channels")
        require(torch.equal(branch.eval()(maps)[1], expected), f"{parts} have other logits than the whole")


@cases.clause(CLAUSES, "float64 and channels-last")
@torch.no_grad()
def _in_other_forms(case: NetworkCase) -> None:
    images = case.images(3)
    forms: dict[str, dict[str, Any]] = {
        "float64": {"dtype": torch.float64},
        "channels-last": {"memory_format": torch.channels_last},
    }
    for what, form in forms.items():
        found = copy.deepcopy(case.settled).to(**form)(images.to(**form))
        wanted = form.get("dtype", torch.float32)
        require(found.dtype == wanted, f"logits of {found.dtype} for images and weights in {what}")
        apart = cases.distance(found.float(), case.settled(images), 1e-3)
        require(apart <= 1e-4, f"{what}: logits are off by {apart:.1e} of the largest")


@cases.clause(CLAUSES, "train mode: moves no weight")
def _training_moves_no_weight(case: NetworkCase) -> None:
    network = case.network()
    weights = dict(network.named_parameters())
    before = copy.deepcopy(weights)
    network(case.images(TRAINED_ON))
    require_same(before, weights, "a forward pass changes {}")
    require(all(module.training for module in network.modules()), "a part is left in eval mode")


@cases.clause(CLAUSES, "state restored from a file")
@torch.no_grad()
def _state_restored_from_a_file(case: NetworkCase) -> None:
    state = case.settled.state_dict()
    try:
        save(state)
    except (RuntimeError, ValueError) as error:
        raise ContractError(f"its state cannot be stored: {message_of(error)}") from None
    other, images = case.network(1).eval(), case.images(3)
    other.load_state_dict(state)
    require(torch.equal(other(images), case.settled(images)), "another network with the same state has other logits")


@cases.clause(CLAUSES, "initialised anew, and by the seed")
def _initialised_by_the_seed(case: NetworkCase) -> None:
    one, other = case.network().state_dict(), case.network().state_dict()
    require_same(one, other, "{} is initialised from something else than torch's generator")
    torch.manual_seed(0)
    first, second = case.backbone.network(), case.backbone.network()
    for (name, weight), same in zip(cases.trainable(first).items(), cases.trainable(second).values(), strict=True):
        # what begins as a constant is the same in all
        copied = weight.dim() > 1 and torch.equal(weight, same) and weight.min() < weight.max()
        require(not copied, f"{name} is the same in two networks")
    shared = {id(weight) for weight in first.parameters()} & {id(weight) for weight in second.parameters()}
    require(not shared, "two networks share weights")


# ---- checking ----


def network_names(names: str, plugins: Sequence[str] = ()) -> list[str]:
    """Return the backbones that names separated by commas, or ``all``, stand for, or raise an InputError."""
    if names == "all":
        return list(backbones.available(plugins))
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        backbones.describe(name, plugins)
    return chosen


def check_network(name: str, plugins: Sequence[str] = ()) -> list[ClauseResult]:
    """Check a backbone and return the results of all clauses.

    It is checked at the smallest two sides of :data:`SIDES` that it takes, grey and in colour, then in the oldest of
    the project's methods of separate networks and of branches that need nothing else. An unknown one is an InputError.
    """
    backbones.describe(name, plugins)
    sides: list[int] = []
    refusal = ""
    for side in SIDES:
        try:
            backbones.make(name, 5, 3, side, plugins)
            sides.append(side)
        except InputError as error:
            refusal = str(error)
        if len(sides) == 2:
            break
    if not sides:
        return [ClauseResult("", "takes images of some size", refusal)]
    small, large = sides[0], sides[-1]
    given = tuple(map(str, plugins))
    colour = NetworkCase(f"{small}x{small} in colour", name, given, image_size=small)
    grey = NetworkCase(f"{large}x{large} grey", name, given, num_classes=2, in_channels=1, image_size=large)
    with own_randomness():
        results = [result for case in (colour, grey) for result in checked(case.label, CLAUSES, case)]
    if faults(results):
        return results
    ready = [registry.load(method) for method in complete_methods(Request([{}]))]
    for shape in (SeparatePeers, BranchedPeers):
        method = next(method for method in ready if issubclass(method, shape))
        peers = {"peers": 2} if "peers" in method.Hyperparameters.model_fields else {}
        case = Case(f"in {method.name}", method, peers, name, image_size=small, depth=Depth.ESSENTIAL, plugins=given)
        # branches are of networks that are cut into stages
        results += check_case(replace(case, may_refuse=shape is BranchedPeers and not colour.stages))
    return results
