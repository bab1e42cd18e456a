"""Where a traced network is cut into stages and a classifier, and the parts as networks of their own."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn

from methods.backbones.layouts import features_to_maps, same
from methods.backbones.tracing import Place, Trace, UntraceableError

Change = Callable[[Tensor], Tensor]
"""A function without weights, such as another layout."""

_NEGLIGIBLE = 0.01
"""A share of the weights below which the first convolution is no stage, but part of the one behind it."""

_BLOCK_STAGES = 4
"""Stages of a network whose blocks all have the same resolution, such as a vision transformer."""


@dataclass(frozen=True)
class Cut:
    """A network's stages and classifier as graphs, which make networks of whatever weights there are.

    Attributes:
        stages: From images or the maps of the stage before to maps ``[B, c, h, w]``.
        channels: Of the maps behind each stage.
        classifier: From the mean of the last maps, ``[B, d]``, to logits.
    """

    stages: Sequence[fx.Graph]
    channels: Sequence[int]
    classifier: fx.Graph

    def parts(self, module: nn.Module) -> tuple[list[nn.Module], nn.Module]:
        """Return the stages and the classifier of a network; they are made of its own children."""
        *stages, classifier = (fx.GraphModule(module, copy.deepcopy(graph)) for graph in self._graphs)
        return list(stages), classifier

    @property
    def _graphs(self) -> tuple[fx.Graph, ...]:
        return (*self.stages, self.classifier)


def cut(trace: Trace, prepare: Change = same) -> Cut:
    """Return the stages of a network: one a resolution, or a quarter of the blocks each where all have the same.

    Args:
        trace: Of the network.
        prepare: What is done with the images first.

    Raises:
        UntraceableError: If there are fewer than two stages.
    """
    last, pooled = _head(trace)
    ends = _stage_ends(trace, last)
    if not ends:
        raise UntraceableError("its children leave no place to cut between stages")
    borders = [trace.places[0], *ends, last]
    stages = [
        _part(trace, begin, end, [prepare if index == 0 else begin.layout.from_maps], [end.layout.to_maps])
        for index, (begin, end) in enumerate(pairwise(borders))
    ]
    classifier = _part(trace, pooled, trace.places[-1], [features_to_maps, pooled.layout.from_maps], [])
    return Cut(stages, [place.channels for place in borders[1:]], classifier)


def _head(trace: Trace) -> tuple[Place, Place]:
    """Return the place of the last maps, and that of the features that the classifier reads.

    They are the same where the features are no mean over the pixels, such as a class token, or all pixels side by
    side: the last stage then returns the features.
    """
    spatial = [index for index, place in enumerate(trace.places) if place.pixels > 1]
    if not spatial or spatial[-1] == 0:
        raise UntraceableError("no maps are pooled for a classifier")
    for last, pooled in pairwise(trace.places[spatial[-1] :]):
        if pooled.shape != last.shape and _is_mean(trace, last, pooled):
            return last, pooled
        if len(pooled.shape) == 2:
            return pooled, pooled
    raise UntraceableError("no features are handed to a classifier")


def _is_mean(trace: Trace, last: Place, pooled: Place) -> bool:
    """Return whether what is computed between two places is the mean over the pixels."""
    if last.channels != pooled.channels or pooled.pixels > 1:
        return False
    native = torch.rand(last.shape, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    between = fx.GraphModule(trace.module, _part(trace, last, pooled, [], []))
    if any(True for _ in between.parameters()):
        return False
    with torch.no_grad():
        found = pooled.layout.to_maps(between.eval()(native)).flatten(1)
    return torch.allclose(found, last.layout.to_maps(native).mean((2, 3)), atol=1e-5)


def _stage_ends(trace: Trace, last: Place) -> list[Place]:
    """Return where all stages but the last end."""
    inside = [place for place in trace.places[1:] if place.position < last.position and place.node.op == "call_module"]
    weights = _weights_before(trace)
    total = max(1, weights[last.position])
    runs: list[list[Place]] = []
    for place in inside:
        if not runs or runs[-1][-1].pixels != place.pixels:
            runs.append([])
        runs[-1].append(place)
    # the stem's resolution and that of all blocks
    if len(runs) <= 2 and len(blocks := _equal_blocks(trace, inside)) >= _BLOCK_STAGES:
        size = -(-len(blocks) // _BLOCK_STAGES)
        return blocks[size - 1 : -1 : size]
    ends = [run[-1] for run in runs if weights[run[-1].position] >= _NEGLIGIBLE * total]
    # the last run belongs to the last stage
    return [end for end in ends if end.pixels != last.pixels and end.pixels != runs[-1][-1].pixels]


def _equal_blocks(trace: Trace, places: Sequence[Place]) -> list[Place]:
    """Return the places behind the blocks of the kind that is met most often."""
    kinds = {place: type(trace.module.get_submodule(str(place.node.target))) for place in places}
    own = [kind for kind in kinds.values() if not kind.__module__.startswith("torch.nn.")]
    if not own:
        return []
    ((most, _),) = Counter(own).most_common(1)
    return [place for place, kind in kinds.items() if kind is most]


def _weights_before(trace: Trace) -> list[int]:
    """Return, for each node, how many weights the modules up to it have."""
    total, sums, seen = 0, [], set()
    for node in trace.graph.nodes:
        if node.op == "call_module" and node.target not in seen:
            seen.add(node.target)
            total += sum(weight.numel() for weight in trace.module.get_submodule(str(node.target)).parameters())
        sums.append(total)
    return sums


def _part(trace: Trace, begin: Place, end: Place, before: Sequence[Change], after: Sequence[Change]) -> fx.Graph:
    """Return the graph between two places, with changes of layout on both sides."""
    graph = fx.Graph()
    copies = {begin.node: _changed(graph, before, graph.placeholder("maps"))}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            # a weight that was fetched before this part
            copies[node] = graph.node_copy(node)
        return copies[node]

    for node in list(trace.graph.nodes)[begin.position + 1 : end.position + 1]:
        if node.op != "placeholder":
            copies[node] = graph.node_copy(node, copied)
    graph.output(_changed(graph, after, copies[end.node]))
    graph.lint()
    return graph


def _changed(graph: fx.Graph, changes: Sequence[Change], value: fx.Node) -> fx.Node:
    for change in changes:
        value = value if change is same else graph.call_function(change, (value,))
    return value
