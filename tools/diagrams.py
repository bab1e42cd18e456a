"""Flowcharts in Mermaid's notation, drawn when the pages are built: a reader's browser needs no script for them."""

import io
import re
from collections.abc import Iterator
from itertools import pairwise

import matplotlib as mpl
import networkx as nx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_ARROW = re.compile(r"\s*-->\s*")
_NODE = re.compile(r'(\w+)(?:\["([^"]+)"\])?')
INK = "#6b7280"


def parse(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the nodes' labels and the arrows of a flowchart of lines such as ``a["A"] --> b & c``.

    Raises:
        ValueError: For a line that is no such arrow.
    """
    labels: dict[str, str] = {}
    arrows: list[tuple[str, str]] = []
    head, *lines = [line.strip() for line in text.strip().splitlines()]
    if head != "flowchart TD":
        raise ValueError(f"a diagram must be a flowchart TD (given: {head!r})")
    for line in lines:
        groups = [list(_names(part, labels)) for part in _ARROW.split(line)]
        if len(groups) < 2:
            raise ValueError(f"no arrow: {line!r}")
        for left, right in pairwise(groups):
            arrows.extend((a, b) for a in left for b in right)
    return labels, arrows


def _names(part: str, labels: dict[str, str]) -> Iterator[str]:
    for word in part.split("&"):
        found = _NODE.fullmatch(word.strip())
        if found is None:
            raise ValueError(f"no node: {word.strip()!r}")
        labels[found[1]] = found[2] or labels.get(found[1], found[1])
        yield found[1]


def layers(arrows: list[tuple[str, str]]) -> list[list[str]]:
    """Return the nodes from top to bottom, each below all that point to it, near those that it is joined with."""
    graph = nx.DiGraph(arrows)
    rows = [sorted(row) for row in nx.topological_generations(graph)]
    for _ in range(4):
        for above, row in pairwise(rows):
            _sort_below(row, above, graph)
    return rows


def _sort_below(row: list[str], above: list[str], graph: "nx.DiGraph[str]") -> None:
    places = {name: index / len(above) for index, name in enumerate(above)}

    def wanted(name: str) -> tuple[float, str]:
        near = [places[other] for other in graph.predecessors(name) if other in places]
        return (sum(near) / len(near) if near else 0.5, name)

    row.sort(key=wanted)


def flowchart(text: str) -> str:
    """Return a flowchart as an SVG element for a page, in colours that suit light and dark."""
    labels, arrows = parse(text)
    rows = layers(arrows)
    width = max(map(len, rows))
    place = {
        name: ((index + 0.5) / len(row) * width, -depth)
        for depth, row in enumerate(rows)
        for index, name in enumerate(row)
    }
    figure = Figure(figsize=(1.15 * width, 0.7 * len(rows)), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0.5 - len(rows), 0.5))
    axes.axis("off")
    box = {"boxstyle": "round,pad=0.35", "fc": "#e8eaf6", "ec": "#3949ab", "lw": 0.8}
    drawn = {
        name: axes.text(x, y, labels[name], ha="center", va="center", fontsize=10, color="#1a237e", bbox=box)
        for name, (x, y) in place.items()
    }
    # arrows end at the boxes, whose sizes are known once they are drawn
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    for start, end in arrows:
        ends = {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        style = {"arrowstyle": "-|>", "color": INK, "lw": 0.8, "shrinkA": 0, "shrinkB": 1}
        axes.annotate("", place[end], place[start], arrowprops={**style, **ends}, zorder=0)
    stream = io.StringIO()
    # no date and no random ids: the same text gives the same bytes
    with mpl.rc_context({"svg.hashsalt": "okdbench", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    _, _, svg = stream.getvalue().partition("<svg ")
    described = "; ".join(f"{labels[a]} to {labels[b]}" for a, b in arrows)
    return f'<div class="diagram" role="img" aria-label="arrows: {described}">\n<svg {_without_comments(svg)}</div>'


def _without_comments(svg: str) -> str:
    # an empty line would end the element for Markdown
    return "".join(line + "\n" for line in re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL).splitlines() if line.strip())
