"""How a table is shown, and the YAML file (``--layout``) in which a paper's repository keeps it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from benchmark import datasets
from benchmark.configuration import read_yaml, suites
from benchmark.escaping import PLAIN, Markup
from benchmark.metrics import METRICS, Metric
from benchmark.tables.replicates import Replicates
from benchmark.tables.selection import TableFilter
from methods import backbones, registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

Gains = Literal["columns", "cell", "rows"]
"""Where the differences to a baseline are: beside each column, in its cells, or in rows of their own."""

Environment = Literal["none", "table", "table*"]
"""What a LaTeX table is in: nothing, a float of one column, or one of two."""

Size = Literal["tiny", "scriptsize", "footnotesize", "small", "normalsize"]


@dataclass(frozen=True)
class TableStyle:
    """How a table is shown.

    Attributes:
        labels: What methods, rows, datasets, networks, settings and scores are called, where not by their own names.
        assignments: The same as ``OLD=NEW`` words, which are told apart once the table's own words are known.
        groups: The heading above a row and those that follow, by row.
        digits: Decimal places of accuracies; None for two.
        n: Whether cells say how many seeds they have.
        p: Whether gains have their p value.
        interval: Whether gains have their interval.
        gains: Where they are.
        rank: Whether the average rank is a column.
        aggregates: Whether what several tasks say together is.
        planning: Whether paired deviations and planned seeds are columns, where there is a bound.
        siunitx: Whether LaTeX aligns the numbers by siunitx.
        environment: What the LaTeX table is in.
        caption: Above it, if it is in something.
        anchor: The name that ``\\ref`` takes.
        size: Of the letters, if it is in something.
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
    planning: bool = True
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
            raise InputError(
                "siunitx aligns numbers without text beside them: --gains columns or --gains rows goes with it"
            )

    def resolved(
        self, labels: Iterable[str], groups: Mapping[str, str], metrics: Iterable[str] = METRICS
    ) -> "TableStyle":
        """Return the style for a table with these rows and columns.

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
            form: Of the document that it is in: a part that has no name of its own is text there.
        """
        if label in self.labels:
            return form.chosen(self.labels[label])
        head, *settings = label.split(", ")
        parts = [head] if head in self.labels else head.split("/")
        called = "/".join(self._part(part, form) for part in parts)
        return ", ".join([called, *(self._part(part, form) for part in settings)])

    def levels(self, column: str, form: Markup) -> tuple[str, str]:
        """Return a column's label in two: its first key, as the dataset, and the rest, as network and settings."""
        if column in self.labels:
            return form.chosen(self.labels[column]), ""
        head, *settings = column.split(", ")
        first, _, rest = head.partition("/")
        below = ", ".join(self.word(part, form) for part in (rest, *settings) if part)
        return self._part(first, form), below

    def _part(self, part: str, form: Markup) -> str:
        return form.chosen(self.labels[part]) if part in self.labels else form.text(part)

    def rounded(self, cell: Replicates, metric: Metric) -> Replicates:
        """Return values with the decimals that accuracies are to have; those of others belong to their units."""
        return replace(cell, decimals=self.digits) if metric.accuracy and self.digits is not None else cell


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


Words = list[str]


class TableLayout(BaseModel):
    """A table's layout; what the command line says wins."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    description: str = Field("", description="for who reads the file")
    value: Words = Field([], description="scores, as --value has them")
    rows: list[str | dict[str, Words]] = Field(
        [], description="rows or methods in their order, a group of them as 'heading: [row, row]'; none: all"
    )
    columns: Words = Field([], description="columns, datasets or networks in their order; none: all")
    labels: dict[str, str] = Field({}, description="what methods, datasets, networks, settings and scores are called")
    suite: str | None = Field(None, description="the suite whose declared comparison is shown")
    where: str | None = Field(None, description="a condition on the runs")
    split: str | None = Field(None, description="test, validation or all")
    hide: Words = Field([], description="rows or methods that are left out")
    baseline: str | None = Field(None, description="the row that the others are compared with")
    digits: int | None = Field(None, ge=0, le=10, description="decimal places of accuracies; null: 2")
    n: bool = Field(True, description="whether cells and gains say their number of seeds")
    p: bool = Field(True, description="whether gains have their p value")
    interval: bool = Field(True, description="whether gains have their interval")
    gains: Gains = Field("columns", description="where gains are: columns, cell or rows")
    rank: bool = Field(True, description="whether the average rank is a column")
    aggregates: bool = Field(True, description="whether what several tasks say together of a gain is a column")
    planning: bool = Field(True, description="whether deviations and planned seeds are columns, where there is a bound")
    siunitx: bool = Field(False, description="whether LaTeX aligns numbers by siunitx")
    environment: Environment = Field("none", description="what the LaTeX table is in: none, table or table*")
    caption: str = Field("", description="of that environment")
    anchor: str = Field("", description="its name for \\ref")
    size: Size = Field("footnotesize", description="of its letters")

    def filter(self) -> TableFilter:
        """Return what is shown, in which order."""
        # a row without a group is below none
        pairs = [
            (word, name)
            for item in self.rows
            for name, words in (item.items() if isinstance(item, dict) else [("", [item])])
            for word in words
        ]
        groups = {word: name for word, name in pairs if name}
        rows = tuple(word for word, _ in pairs)
        suite = None if self.suite is None else suites.read(self.suite)
        hide, columns = tuple(self.hide), tuple(self.columns)
        return TableFilter(self.where, self.split, hide, rows, columns, groups, suite, self.suite or "")

    def style(self, assignments: Sequence[str] = ()) -> TableStyle:
        """Return how it is shown.

        Args:
            assignments: Further labels as ``OLD=NEW`` words; they win.
        """
        shared = {field.name for field in fields(TableStyle)} & set(type(self).model_fields)
        return TableStyle(**{name: getattr(self, name) for name in shared}, assignments=tuple(assignments))


def read(path: Path | None, given: Mapping[str, Any]) -> TableLayout:
    """Return the layout in a file, or that of no file, with what the command line says in its place.

    Args:
        path: The file; None for none.
        given: Values by key; None stands for nothing said.

    Raises:
        InputError: If the file cannot be read, or holds anything unknown.
    """
    content = {} if path is None else read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} must hold keys and values, as in 'rows: [independent, dml]'")
    said = {key: value for key, value in given.items() if value is not None}
    return validated(TableLayout, content | said, str(path) if path is not None else "")
