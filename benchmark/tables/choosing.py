"""Which runs, rows and columns a table or a figure shows, and in which order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from benchmark import datasets
from benchmark.store import select
from benchmark.tables import layout, rows as naming
from benchmark.tables.ordering import summaries
from methods import backbones, registry
from methods.errors import InputError, unknown

SPLITS = ("test", "validation", "all")


@dataclass(frozen=True)
class Choice:
    """What is shown.

    Attributes:
        where: A condition on the runs; None for all.
        split: ``test``, ``validation`` or ``all``; None for those on the test set if there are any, else all.
        hide: Rows, or methods, that are left out.
        rows: Rows, or methods, in their order; none for all in their own order.
        columns: Columns, data sets or networks, in their order; none for all in their own order.
        groups: The heading that a row, or a method's rows, stand under.
    """

    where: str | None = None
    split: str | None = None
    hide: Sequence[str] = ()
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    def runs(self, frame: pd.DataFrame, keep_splits: bool = False) -> tuple[pd.DataFrame, list[str]]:
        """Return the runs that are chosen, and a line on what was left out without being asked for.

        Args:
            frame: From :func:`benchmark.store.load`.
            keep_splits: Whether runs on the validation split stay beside the others, as where it is a key.

        Raises:
            InputError: If a word is unknown, or no run is chosen.
        """
        if self.split is not None and self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        if frame.empty:
            return frame, []
        chosen = frame if self.where is None else select(frame, self.where)
        if chosen.empty:
            raise InputError(f"no run fits --where {self.where!r}")
        tested = chosen["split"] == "test"
        wanted = self.split or ("all" if keep_splits or not tested.any() else "test")
        fits = chosen["split"].isin([wanted, *(SPLITS if wanted == "all" else ())])
        kept = chosen[fits]
        if kept.empty:
            raise InputError(f"no run is scored on the {wanted} split (--split all shows the others)")
        left = chosen.loc[~fits, "run"].nunique() if self.split is None else 0
        runs = "run" if left == 1 else "runs"
        return kept, [f"{left} {runs} on validation images not shown (--split all)"] if left else []

    def labels(self, runs: pd.DataFrame, labels: Sequence[str], axis: str, of_methods: bool) -> list[str]:
        """Return the rows, or the columns, that are shown, in order.

        A word that is a method, a data set or a network without runs is passed over.

        Args:
            runs: Of :func:`benchmark.tables.layout.labelled`.
            labels: All there are, in their own order.
            axis: ``row`` or ``column``.
            of_methods: Whether methods stand there, which can be hidden.

        Raises:
            InputError: If a word means nothing, or nothing is left.
        """
        words = self.rows if axis == "row" else self.columns
        found = list(labels)
        if words:
            found = list(dict.fromkeys(label for word in words for label in self._meant(word, runs, labels, axis)))
            if not found:
                raise InputError(f"there are no runs of these {axis}s: {naming.quoted(words)}")
        if of_methods and self.hide:
            hidden = naming.several("method to hide", self.hide, runs, labels, axis)
            found = [label for label in found if label not in hidden]
            if not found:
                raise InputError("--hide leaves nothing to show")
        return found

    def hidden(self, frame: pd.DataFrame) -> set[str]:
        """Return the names of the runs that stand in hidden rows alone.

        Args:
            frame: From :func:`benchmark.store.load`; not empty.
        """
        runs = layout.labelled(summaries(frame))
        rows = list(dict.fromkeys(runs["row"]))
        shown = set(self.labels(runs, rows, "row", of_methods=True)) if self.hide else set(rows)
        return set(runs["run"]) - set(runs.loc[runs["row"].isin(shown), "run"])

    def grouped(self, runs: pd.DataFrame, labels: Sequence[str]) -> dict[str, str]:
        """Return the heading that each row stands under, where there is one."""
        return {row: name for word, name in self.groups.items() for row in self._meant(word, runs, labels, "row")}

    @staticmethod
    def _meant(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
        found = naming.meant(word, runs, labels, axis) or _of_data(word, runs, labels, axis)
        known = {*labels, *registry.catalogue(), *backbones.available(), *datasets.available()}
        if not found and word.partition("[")[0] not in known:
            raise unknown(axis, word, {*labels, *runs["method"]} if axis == "row" else labels, quoted=True)
        return found


def _of_data(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
    own = set(runs.loc[(runs["dataset"] == word) | (runs["backbone"] == word), axis])
    return [label for label in labels if label in own]
