"""A network's computation as a chain of its own children, and the places where the chain may be cut.

The network is traced symbolically: blocks stay as they are, and what its ``forward`` does between them (a flatten, a
mean, a class token) is kept, so that the parts together compute exactly what the whole does.
"""

import inspect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, fx, nn

from methods.backbones.layouts import Layout, layout_of
from methods.errors import message_of


class UntraceableError(Exception):
    """The network's ``forward`` does something that no trace can follow; the message says what."""


@dataclass(frozen=True)
class Place:
    """Where a single tensor, and nothing else, is handed on.

    Attributes:
        position: Index of the node that computes the tensor, in the graph.
        node: That node.
        shape: Of the tensor, with the batch first.
    """

    position: int
    node: fx.Node
    shape: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        """How the tensor is laid out."""
        return layout_of(self.shape)

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return self.shape[self.layout.channel]

    @property
    def pixels(self) -> int:
        """How many spatial positions it has; 1 for pooled features."""
        return prod(self.shape[1:]) // self.channels


@dataclass(frozen=True)
class Trace:
    """A traced network.

    Attributes:
        module: The network; its weights are not looked at.
        graph: Of its children's calls and what is computed between them.
        places: Where it may be cut, in order; the first is the input and the last the logits.
    """

    module: nn.Module
    graph: fx.Graph
    places: Sequence[Place]


def trace(module: nn.Module, num_classes: int, images: Sequence[Tensor]) -> Trace:
    """Return a network as a chain of its children.

    Args:
        module: On the meta device.
        num_classes: C, by which the classifier is known.
        images: Batches on the meta device, ``[B, C, H, W]``; the shapes are those of the first that the network takes.

    Raises:
        UntraceableError: If its ``forward`` branches on values, or does other things in training than in evaluation.
    """
    opened = _opened(module, num_classes)
    try:
        graphs = [_graph(module.train(training), opened) for training in (True, False)]
    except Exception as error:
        # whatever a forward does with what it takes for a tensor
        raise UntraceableError(f"its forward cannot be followed ({message_of(error)})") from None
    graph = graphs[0]
    if str(graph) != str(graphs[1]):
        raise UntraceableError("its forward does other things in training than in evaluation")
    module.train()
    _propagate(module, graph, images)
    return Trace(module, graph, _places(graph))


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shape of every tensor in its node."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


class _Tracer(fx.Tracer):
    def __init__(self, opened: frozenset[str]) -> None:
        super().__init__()
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self.opened


def _opened(module: nn.Module, num_classes: int) -> frozenset[str]:
    """Return the children whose own children are looked at: sequences, the bulk of the network, and its head."""
    total = _size(module)
    linear = [name for name, part in module.named_modules() if _is_classifier(part, num_classes)]
    head = linear[-1].split(".") if linear else []
    around_head = {".".join(head[:length]) for length in range(1, len(head))}
    return frozenset(
        name
        for name, part in module.named_modules()
        if type(part) is nn.Sequential
        or name in around_head
        or (not type(part).__module__.startswith("torch.nn.") and 2 * _size(part) > total)
    )


def _is_classifier(part: nn.Module, num_classes: int) -> bool:
    return isinstance(part, nn.Linear) and part.out_features == num_classes


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _graph(module: nn.Module, opened: frozenset[str]) -> fx.Graph:
    _, *others = inspect.signature(module.forward).parameters.values()
    constant = {
        other.name: other.default for other in others if other.kind not in (other.VAR_POSITIONAL, other.VAR_KEYWORD)
    }
    graph = _Tracer(opened).trace(module, constant or None)
    # arguments at their defaults leave placeholders, and assertions on these
    for unused in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        _erase(graph, unused)
    traced = fx.GraphModule(module, graph)
    traced.graph.eliminate_dead_code()
    return traced.graph


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase(graph, user)
    graph.erase_node(node)


def _propagate(module: nn.Module, graph: fx.Graph, images: Sequence[Tensor]) -> None:
    for batch in images:
        # a network of one image size takes no other, and says so in an error of its own
        with suppress(Exception):
            _Shapes(fx.GraphModule(module, graph)).run(batch)
            return
    raise UntraceableError("its layers' shapes cannot be found")


def _places(graph: fx.Graph) -> list[Place]:
    nodes = list(graph.nodes)
    position = {node: index for index, node in enumerate(nodes)}
    needed = {node: max((position[user] for user in node.users), default=-1) for node in nodes}
    found: list[Place] = []
    for index, _ in enumerate(nodes):
        # weights can be fetched anew on the other side
        live = [node for node in nodes[: index + 1] if node.op != "get_attr" and needed[node] > index]
        if len(live) == 1 and (shape := _shape(live[0])) is not None and (not found or found[-1].node is not live[0]):
            found.append(Place(index, live[0], shape))
    return found


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    shape: tuple[int, ...] | None = node.meta.get("shape")
    return shape if shape is not None and 2 <= len(shape) <= 4 else None
