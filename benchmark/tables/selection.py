"""What a table or a figure shows and how, and the YAML file (``--layout``) of both."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from benchmark import datasets
from benchmark.configuration import Suite, read_yaml, suites
from benchmark.escaping import PLAIN, Markup
from benchmark.formatting import counted
from benchmark.metrics import METRICS
from benchmark.store import select
from benchmark.tables import layout
from benchmark.tables.comparison import Declaration, Plan, declaration, plan_notes, plan_of, statement
from benchmark.tables.declared_runs import suite_runs
from benchmark.tables.layout import shown_setting, summaries
from methods import backbones, registry
from methods.errors import InputError, unknown
from methods.hyperparameters import validated

SPLITS = ("test", "validation", "all")


class TableFilter(BaseModel):
    """What is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    rows: Sequence[str | dict[str, list[str]]] = Field(
        (), description="rows or methods in order, a group as 'heading: [row, row]'; none: all"
    )
    columns: Sequence[str] = Field((), description="columns, datasets or networks in their order; none: all")
    suite: str | None = Field(None, description="the suite whose declared comparison is shown")
    where: str | None = Field(None, description="a condition on the runs")
    split: str | None = Field(None, description="test, validation or all; null: test if there are any, else all")
    hide: Sequence[str] = Field((), description="rows or methods that are left out")

    @cached_property
    def roster(self) -> Suite | None:
        """The suite; None for all runs. An InputError is raised if there is no such suite."""
        return None if self.suite is None else suites.read(self.suite)

    @property
    def groups(self) -> dict[str, str]:
        """The heading that each of the rows' words is below; it is empty for a row without a group."""
        groups = (item if isinstance(item, dict) else {"": [item]} for item in self.rows)
        return {word: heading for group in groups for heading, words in group.items() for word in words}

    @property
    def declared(self) -> Declaration | None:
        """What was declared of the runs that are shown; None where a condition chooses among them (exploratory)."""
        asked = self.where is not None or self.split not in (None, "test")
        return None if self.suite is None or self.roster is None or asked else declaration(self.suite, self.roster)

    @property
    def whole(self) -> bool:
        """Whether nothing chooses among the runs or the methods, so that a stored plan of them applies."""
        return self.suite is None and self.where is None and not self.hide

    def plans_of(self, runs: Collection[str], plans: Sequence[Plan]) -> list[str]:
        """Return what is declared of runs that are shown without verdicts, and their other plans, a line each."""
        declared = self.declared or (plan_of(runs, plans, None) if self.whole else None)
        own = [] if declared is None else statement(declared, verdicts=False)
        return own + plan_notes(runs, plans, declared)

    def runs(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """Return the runs that are chosen, and a line on what was left out without being asked for.

        An InputError is raised if a word is unknown, or no run is chosen.
        """
        if self.split is not None and self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        if frame.empty:
            return frame, []
        chosen, notes = (frame, []) if self.roster is None else _in_one_environment(suite_runs(frame, self.roster))
        if self.where is not None:
            chosen = select(chosen, self.where)
        if chosen.empty:
            raise InputError(f"no run fits --where {self.where!r}")
        tested = chosen["split"] == "test"
        wanted = self.split or ("test" if tested.any() else "all")
        fits = chosen["split"].isin([wanted, *(SPLITS if wanted == "all" else ())])
        if not fits.any():
            raise InputError(f"no run is scored on the {wanted} split (--split all shows the others)")
        if self.split is None and (left := chosen.loc[~fits, "run"].nunique()):
            notes.append(f"{counted(left, 'run')} on validation images not shown (--split all)")
        return chosen[fits], notes

    def shown_labels(self, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
        """Return the rows, or the columns, that are shown, in order; rows can be hidden.

        A word that is a method, a dataset or a network without runs is passed over. An InputError is raised if a word
        means nothing, or nothing is left.
        """
        found = list(labels)
        if words := [*self.groups] if axis == "row" else self.columns:
            found = list(dict.fromkeys(label for word in words for label in _meant(word, runs, labels, axis)))
            if not found:
                raise InputError(f"there are no runs of these {axis}s: {quoted(words)}")
        for word in self.hide if axis == "row" else ():
            # a method's name hides all of its rows
            hidden = _of_method(word, runs, labels) or [label for label in labels if label == word]
            if not hidden:
                raise unknown("method to hide", word, {*labels, *runs["method"]}, quoted=True)
            found = [label for label in found if label not in hidden]
        if not found:
            raise InputError("--hide leaves nothing to show")
        return found

    def hidden(self, frame: pd.DataFrame) -> set[str]:
        """Return the names of the runs of hidden rows alone."""
        if not self.hide:
            return set()
        runs = layout.arranged(summaries(frame)).runs
        shown = self.shown_labels(runs, list(dict.fromkeys(runs["row"])), "row")
        return set(runs["run"]) - set(runs.loc[runs["row"].isin(shown), "run"])

    def grouped(self, runs: pd.DataFrame, labels: Sequence[str]) -> dict[str, str]:
        """Return the heading above each row, where there is one."""
        return {row: name for word, name in self.groups.items() if name for row in _meant(word, runs, labels, "row")}


class TableStyle(BaseModel):
    """How a table is shown."""

    model_config = TableFilter.model_config

    labels: Mapping[str, str] = Field({}, description="of methods, rows, datasets, networks, settings and scores")
    assignments: Sequence[str] = Field((), description="labels as OLD=NEW words, told apart once the table is known")
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

    def resolved(self, labels: Iterable[str], metrics: Iterable[str] = METRICS) -> "TableStyle":
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
        return self.model_copy(update={"labels": named, "assignments": ()})

    def word(self, label: str, form: Markup = PLAIN) -> str:
        """Return what a row or column is called: the label as a whole, else each of its parts that has a name.

        A part that has no name of its own is text in the form of document.
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


class TableLayout(TableFilter, TableStyle):
    """What is shown, and how; what the command line says wins over a file."""

    description: str = Field("", description="for who reads the file")
    value: list[str] = Field([], description="scores, as --value has them")
    baseline: str | None = Field(None, description="the row that the others are compared with")


def read_layout(path: Path | None, given: Mapping[str, Any]) -> TableLayout:
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


# what words mean


def matching(word: str, runs: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Return the rows' labels that match a word: a label, a method, or ``method[key=value, ...]`` with its settings."""
    # the plain name of several configurations is that of the usual one, if there is one
    return [word] if word in labels else _of_method(word, runs, labels)


def _meant(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
    """Return the labels that a word means: of rows see :func:`matching`, of columns a label, a dataset or a network."""
    if axis == "row":
        found, known, named = matching(word, runs, labels), {*registry.catalogue()}, {*labels, *runs["method"]}
    else:
        fits = (runs["column"] == word) | (runs["dataset"] == word) | (runs["backbone"] == word)
        columns = set(runs.loc[fits, "column"])
        found = [label for label in labels if label in columns]
        known, named = {*backbones.available(), *datasets.available()}, {*labels}
    # what has no runs yet is passed over
    if not found and word.partition("[")[0] not in known:
        raise unknown(axis, word, named, quoted=True)
    return found


def _of_method(word: str, runs: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    found = re.fullmatch(r"([^\[\]]+)\[([^\[\]]+)\]", word.strip())
    name, settings = (found[1].strip(), found[2].split(",")) if found else (word, [])
    own = runs[(runs["method"] == name) | (runs["variant"] == name) | (runs["base"] == name)]
    columns: dict[str, str] = {}
    # a training recipe of its own wins
    for beginning in ("train.", "method.", "files.", "hyperparameters.", layout.OWN):
        there = [column for column in own.columns if column.startswith(beginning) and own[column].notna().any()]
        columns |= {column.rpartition(".")[2]: column for column in there}
    for part in settings:
        key, equals, value = map(str.strip, part.partition("="))
        if not equals:
            raise InputError(f"{word!r}: settings are written as method[key=value] (given: {part.strip()!r})")
        if own.empty:
            break
        if key not in columns:
            raise unknown(f"setting in {word!r}", key, columns)
        with suppress(ValueError):
            value = f"{float(value):g}"
        own = own[own[columns[key]].map(shown_setting) == value]
    kept = set(own["row"])
    return [label for label in labels if label in kept]


def quoted(labels: Iterable[str]) -> str:
    """Return labels, which may have commas in them, as a list."""
    return ", ".join(map(repr, labels))


# environments


def in_environment(frame: pd.DataFrame, words: str) -> pd.DataFrame:
    """Return the runs of environments whose name has a part, such as ``EPYC``, or raise an InputError if none has."""
    kept = frame[frame["environment"].str.contains(words, regex=False, case=False)]
    if kept.empty and not frame.empty:
        raise unknown("environment", words, dict.fromkeys(frame["environment"][frame["environment"] != ""]))
    return kept


def _in_one_environment(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a suite's runs, where a task has replicates those of its largest environment, and a line on the others.

    A replicate would be one comparison more than were declared.
    """
    notes = []
    for task, own in runs.groupby(layout.TASK, sort=False):
        if (most := layout.main_environment(own)) is not None:
            others = own.index[own["environment"] != most]
            runs = runs.drop(others)
            notes.append(f"{task}: {len(others)} runs of other environments than {most} not shown (--environment)")
    return runs, notes
