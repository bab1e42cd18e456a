"""The code that a run is made with and that no version of this project tells: that of its plug-ins."""

from collections.abc import Sequence
from typing import Protocol

from methods import backbones, registry
from methods.sources import Source


class CodeOfDatasets(Protocol):
    """What is asked of data sets; :mod:`benchmark.datasets` knows it."""

    def source(self, name: str, plugins: Sequence[str] = ()) -> Source | None:
        """Return the code of a plug-in's data set; None for one of the project's own."""


def sources(
    method: str, dataset: str, backbone: str, plugins: Sequence[str], datasets: CodeOfDatasets
) -> dict[str, Source]:
    """Return the code of what comes from a plug-in, by what it is: ``method``, ``dataset``, ``backbone``.

    Args:
        method: A method's name.
        dataset: A data set's name.
        backbone: A backbone's name, or several joined by ``+``; then each has an entry ``backbone.<name>``.
        plugins: Python files that define further methods, backbones and data sets.
        datasets: Knows the data sets' code.

    Raises:
        InputError: For an unknown name, or a plug-in that is broken.
    """
    parts = backbone.split("+")
    networks = {"backbone" if len(parts) == 1 else f"backbone.{part}": part for part in parts}
    found = {
        "method": registry.source(method, plugins),
        "dataset": datasets.source(dataset, plugins),
        **{role: backbones.source(part, plugins) for role, part in networks.items()},
    }
    return {role: source for role, source in found.items() if source is not None}
