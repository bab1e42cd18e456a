"""How a table is shown: what rows and columns are called, digits, and what stands in a cell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from benchmark import datasets
from benchmark.escaping import PLAIN, Markup
from benchmark.metrics import METRICS, Metric
from benchmark.tables.cells import Cell
from methods import backbones, registry
from methods.errors import InputError, unknown

Gains = Literal["columns", "cell", "rows"]
"""Where the differences to a baseline stand: beside each column, in its cells, or in rows of their own."""

Environment = Literal["none", "table", "table*"]
"""What a LaTeX table stands in: nothing, a float of one column, or one of two."""

Size = Literal["tiny", "scriptsize", "footnotesize", "small", "normalsize"]


@dataclass(frozen=True)
class Showing:
    """How a table is shown.

    Attributes:
        labels: What methods, rows, data sets, networks, settings and scores are called, where not by their own names.
        assignments: The same as ``OLD=NEW`` words, which are told apart once the table's own words are known.
        groups: The heading above a row and those that follow, by row.
        digits: Decimal places of accuracies; None for two.
        n: Whether cells say how many seeds they have.
        p: Whether gains have their p value.
        interval: Whether gains have their interval.
        gains: Where they stand.
        rank: Whether the average rank is a column.
        aggregates: Whether what several columns say together is.
        siunitx: Whether LaTeX aligns the numbers by siunitx.
        environment: What the LaTeX table stands in.
        caption: Above it, if it stands in something.
        anchor: The name that ``\\ref`` takes.
        size: Of the letters, if it stands in something.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    assignments: Sequence[str] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    digits: int | None = None
    n: bool = True
    p: bool = True
    interval: bool = True
    gains: Gains = "columns"
    rank: bool = True
    aggregates: bool = True
    siunitx: bool = False
    environment: Environment = "none"
    caption: str = ""
    anchor: str = ""
    size: Size = "footnotesize"

    def __post_init__(self) -> None:
        for option, value, valid in (
            ("gains", self.gains, get_args(Gains)),
            ("environment", self.environment, get_args(Environment)),
            ("size", self.size, get_args(Size)),
        ):
            if value not in valid:
                raise unknown(option, str(value), valid)
        if self.digits is not None and not 0 <= self.digits <= 10:
            raise InputError(f"digits takes a whole number from 0 to 10 (given: {self.digits})")
        if self.siunitx and self.gains == "cell":
            raise InputError("siunitx aligns numbers that stand alone: --gains columns or --gains rows goes with it")

    def resolved(self, labels: Iterable[str], groups: Mapping[str, str], metrics: Iterable[str] = METRICS) -> "Showing":
        """Return the showing for a table with these rows and columns.

        Args:
            labels: Of rows and columns.
            groups: The heading above a row, by row.
            metrics: The names of all metrics.

        Raises:
            InputError: If another name is given to what is no word of the table, nor of this program.
        """
        known = known_words(labels, metrics)
        elsewhere = {*registry.catalogue(), *backbones.available(), *datasets.available()}
        for old in self.labels:
            # what has no runs yet, or is hidden, may have its name already
            parts = old.partition(", ")[0].split("/")
            if old not in known and not all(part in elsewhere or ":" in part or "=" in part for part in parts):
                raise unknown("label", old, known, quoted=True)
        named = assigned(self.assignments, known | elsewhere)
        return replace(self, labels={**self.labels, **named}, assignments=(), groups=groups)

    def word(self, label: str, form: Markup = PLAIN) -> str:
        """Return what a row or column is called: the label as a whole, else each of its parts that has a name.

        Args:
            label: Of the row or column.
            form: Of the document that it stands in: a part that has no name of its own is text there.
        """
        if label in self.labels:
            return form.chosen(self.labels[label])
        head, *settings = label.split(", ")
        parts = [head] if head in self.labels else head.split("/")
        called = "/".join(self._part(part, form) for part in parts)
        return ", ".join([called, *(self._part(part, form) for part in settings)])

    def levels(self, column: str, form: Markup) -> tuple[str, str]:
        """Return a column's label in two: its first key, as the data set, and the rest, as network and settings."""
        if column in self.labels:
            return form.chosen(self.labels[column]), ""
        head, *settings = column.split(", ")
        first, _, rest = head.partition("/")
        below = ", ".join(self.word(part, form) for part in (rest, *settings) if part)
        return self._part(first, form), below

    def _part(self, part: str, form: Markup) -> str:
        return form.chosen(self.labels[part]) if part in self.labels else form.text(part)

    def in_digits(self, cell: Cell, metric: Metric) -> Cell:
        """Return a cell with the decimals that accuracies are to have; those of others belong to their units."""
        return replace(cell, digits=self.digits) if metric.accuracy and self.digits is not None else cell


def known_words(labels: Iterable[str], metrics: Iterable[str]) -> set[str]:
    """Return all that can be given another name: metrics, labels, their keys and their settings."""
    words = {*metrics}
    for label in labels:
        head, *settings = label.split(", ")
        words |= {label, head, *head.split("/"), *settings}
    return words


def assigned(words: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return the labels that ``OLD=NEW`` words mean; OLD may have a ``=`` of its own.

    Args:
        words: As they are written.
        known: What OLD may be.

    Raises:
        InputError: If a word has no ``=``, or no such beginning.
    """
    valid = set(known)
    found = {}
    for word in words:
        splits = [(word[:place], word[place + 1 :]) for place, char in enumerate(word) if char == "="]
        if not splits:
            raise InputError(f"--label takes OLD=NEW, such as dkel='DKEL (ours)' (given: {word!r})")
        # the longest beginning that is something wins
        old, new = next((pair for pair in reversed(splits) if pair[0] in valid), splits[0])
        if old not in valid:
            raise unknown("label", old, valid, quoted=True)
        found[old] = new
    return found
