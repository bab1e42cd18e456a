"""How a table is shown, and the YAML file (``--layout``) in which a paper's repository keeps it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from benchmark import datasets
from benchmark.configuration import read_yaml, suites
from benchmark.escaping import PLAIN, Markup
from benchmark.metrics import METRICS
from benchmark.tables.selection import TableFilter
from methods import backbones, registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated


class _Shown(BaseModel):
    """What a table's style and its file have in common."""

    model_config = TableFilter.model_config

    labels: Mapping[str, str] = Field({}, description="of methods, rows, datasets, networks, settings and scores")
    digits: int | None = Field(None, ge=0, le=10, description="decimal places of accuracies; null: 2")
    n: bool = Field(True, description="whether cells and gains say their number of seeds")
    p: bool = Field(True, description="whether gains have their p value")
    interval: bool = Field(True, description="whether gains have their interval")
    gains: Literal["columns", "cell", "rows"] = Field("columns", description="where gains are")
    rank: bool = Field(True, description="whether the average rank is a column")
    aggregates: bool = Field(True, description="whether what several tasks say together of a gain is a column")
    planning: bool = Field(True, description="whether deviations and planned seeds are columns, where there is a bound")
    environment: Literal["none", "table", "table*"] = Field("none", description="of LaTeX, around the table")
    caption: str = Field("", description="of that environment")
    anchor: str = Field("", description="its name for \\ref")


class TableStyle(_Shown):
    """How a table is shown."""

    assignments: Sequence[str] = Field((), description="labels as OLD=NEW words, told apart once the table is known")
    groups: Mapping[str, str] = Field({}, description="the heading above a row and those that follow, by row")

    def resolved(
        self, labels: Iterable[str], groups: Mapping[str, str], metrics: Iterable[str] = METRICS
    ) -> "TableStyle":
        """Return the style for a table of these rows and columns; an InputError for a label of no known word."""
        known = {*metrics}
        for label in labels:
            head, *settings = label.split(", ")
            known |= {label, head, *head.split("/"), *settings}
        elsewhere = {*registry.catalogue(), *backbones.available(), *datasets.available()}
        for old in self.labels:
            # what has no runs yet, or is hidden, may have its name already
            parts = old.partition(", ")[0].split("/")
            if old not in known and not all(part in elsewhere or ":" in part or "=" in part for part in parts):
                raise unknown("label", old, known, quoted=True)
        named = {**self.labels, **assigned(self.assignments, known | elsewhere)}
        return self.model_copy(update={"labels": named, "assignments": (), "groups": groups})

    def word(self, label: str, form: Markup = PLAIN) -> str:
        """Return what a row or column is called: the label as a whole, else each of its parts that has a name.

        Args:
            form: Of the document that it is in: a part that has no name of its own is text there.
        """
        if label in self.labels:
            return form.chosen(self.labels[label])
        head, *settings = label.split(", ")
        called = "/".join(self._part(part, form) for part in ([head] if head in self.labels else head.split("/")))
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


def assigned(words: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return the labels that ``OLD=NEW`` words mean, or raise an InputError; OLD may have a ``=`` of its own."""
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


class TableLayout(TableFilter, _Shown):
    """A table's layout; what the command line says wins."""

    description: str = Field("", description="for who reads the file")
    value: list[str] = Field([], description="scores, as --value has them")
    baseline: str | None = Field(None, description="the row that the others are compared with")

    def style(self, assignments: Sequence[str] = ()) -> TableStyle:
        """Return how it is shown, with further ``OLD=NEW`` labels."""
        return TableStyle(assignments=tuple(assignments), **self.model_dump(include={*_Shown.model_fields}))


def read(path: Path | None, given: Mapping[str, Any]) -> TableLayout:
    """Return the layout of a file or of none, with what is given in its place, or raise an InputError."""
    content = {} if path is None else read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} must hold keys and values, as in 'rows: [independent, dml]'")
    said = {key: value for key, value in given.items() if value is not None}
    found = validated(TableLayout, content | said, str(path) if path is not None else "")
    if found.suite is not None:
        # a wrong one is answered before any run is looked at
        suites.read(found.suite)
    return found
