"""From runs to a table: which runs share a cell, who is best, and what the differences to a baseline are."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import mean, stdev

import pandas as pd

from benchmark.store import Status
from benchmark.tables import layout
from benchmark.tables.scores import EACH, SCORES, Record, of_run, shown, summaries
from benchmark.tables.significance import CONFIDENCE, MIN_PAIRS, Gain, holm, paired_gain
from methods import registry
from methods.errors import InputError, unknown

HEADLINE = "student"
MAX_REASON = 60


@dataclass(frozen=True)
class Heading:
    """What a column holds.

    Attributes:
        column: Data set, backbone and whatever else tells the runs apart.
        score: A name in :data:`benchmark.tables.scores.SCORES`.
        part: Which student, for a score that is a number a student.
        alone: Whether the headline is all that the table shows of the column, and goes without saying.
    """

    column: str
    score: str
    part: str = ""
    alone: bool = field(default=False, compare=False)

    @property
    def text(self) -> str:
        """What stands above the column."""
        return self.column if self.alone else f"{self.column} {self.part or self.score}"


@dataclass(frozen=True)
class Ending:
    """Runs of a cell that did not finish: how many, and the first one's reason."""

    status: Status
    count: int
    reason: str

    @property
    def text(self) -> str:
        """The count, the status and, if there is one, the reason, on one line and without the table's own sign."""
        reason = " ".join(self.reason.replace("|", "/").split())
        shortened = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."
        return f"{self.count} {self.status}" + (f": {shortened}" if shortened else "")


@dataclass(frozen=True)
class Cell:
    """Runs that differ in nothing but the seed.

    Attributes:
        values: Of the finished ones, by seed.
        endings: Of the others.
        digits: Decimal places.
    """

    values: Mapping[int, float]
    endings: Sequence[Ending] = ()
    digits: int = 2

    @cached_property
    def mean(self) -> float | None:
        """Over the seeds; None if no run finished."""
        return mean(self.values.values()) if self.values else None

    def text(self, reasons: bool = True) -> str:
        """Return ``mean ± std (n)`` and how many runs did not finish, with the reason or without."""
        numbers = [mean_and_deviation([*self.values.values()], self.digits)] if self.values else []
        return ", ".join([*numbers, *(end.text if reasons else f"{end.count} {end.status}" for end in self.endings)])


@dataclass(frozen=True)
class Table:
    """Cells by row and heading.

    Attributes:
        corner: What the rows are.
        rows: Their labels, in order.
        headings: In order.
        cells: A row need not have every one.
        baseline: The row that the gains refer to, or None.
        gains: By row and heading, where baseline and row share a seed.
    """

    corner: str
    rows: Sequence[str]
    headings: Sequence[Heading]
    cells: Mapping[tuple[str, Heading], Cell]
    baseline: str | None = None
    gains: Mapping[tuple[str, Heading], Gain] = field(default_factory=dict)

    @property
    def compares(self) -> bool:
        """Whether the rows are what is compared: methods, and not data sets or seeds, of which none is the best."""
        return "method" in self.corner.split("/")

    def values(self, heading: Heading) -> dict[str, float]:
        """Return a column's means by row, as they are shown: what looks the same counts as the same."""
        found = {row: self.cells[row, heading] for row in self.rows if (row, heading) in self.cells}
        return {row: round(cell.mean, cell.digits) for row, cell in found.items() if cell.mean is not None}

    def leaders(self, heading: Heading) -> tuple[set[str], set[str]]:
        """Return the best rows of a column and the second best; none where there is nothing to compare."""
        values, end = self.values(heading), SCORES[heading.score].best
        order = sorted(set(values.values()), reverse=end == "high")
        if end is None or len(values) < 2 or not self.compares:
            return set(), set()
        best, second = ({row for row, value in values.items() if value in order[i : i + 1]} for i in (0, 1))
        return best, second

    def ranks(self) -> tuple[dict[str, float], int, int]:
        """Return each row's average rank, over how many columns, and of how many.

        A column counts if every row has a value in it; of several scores the first one that has a better end counts.
        """
        ordered = [heading for heading in self.headings if SCORES[heading.score].best and not heading.part]
        judged = [heading for heading in ordered if heading.score == ordered[0].score]
        complete = [heading for heading in judged if len(self.values(heading)) == len(self.rows)]
        if len(self.rows) < 2 or not complete or not self.compares:
            return {}, 0, len(judged)
        low = SCORES[complete[0].score].best == "low"
        ranks = pd.DataFrame({i: self.values(heading) for i, heading in enumerate(complete)}).rank(ascending=low)
        return {str(row): float(rank) for row, rank in ranks.mean(axis=1).items()}, len(complete), len(judged)

    def notes(self) -> list[str]:
        """Return what a reader has to know, a line each."""
        scores = list(dict.fromkeys(heading.score for heading in self.headings))
        lines = [*shown(scores), "mean ± standard deviation (number of seeds)"]
        if any(cell.endings for cell in self.cells.values()):
            lines.append("runs that did not finish are counted, not averaged")
        used, judged = self.ranks()[1:]
        if used:
            lines.append(
                f"average rank: by {scores_of(self.headings)[0]}, over the {used} of {judged} columns "
                "in which every row has a value"
            )
        if self.baseline is not None:
            tested = sum(gain.p is not None for gain in self.gains.values())
            lines.append(
                f"gain: mean difference to {self.baseline}, paired over the n seeds that both have, with its "
                f"{CONFIDENCE:.0%} t interval from n = {MIN_PAIRS} on; p of the paired t-test, Holm-corrected for "
                f"{tested} comparison{'' if tested == 1 else 's'}, * where below {1 - CONFIDENCE:.2g}"
            )
        return lines


def scores_of(headings: Sequence[Heading]) -> list[str]:
    """Return the scores that have a better end, in order."""
    return [heading.score for heading in headings if SCORES[heading.score].best]


def build(
    frame: pd.DataFrame,
    scores: Sequence[str] | None = None,
    rows: Sequence[str] = layout.ROWS,
    columns: Sequence[str] = layout.COLUMNS,
    baseline: str | None = None,
) -> Table:
    """Return the table of all runs.

    Runs that differ in more than their seed are never averaged: what a method's runs differ in is named beside it, what
    all differ in beside the data set.

    Args:
        frame: From :func:`benchmark.store.load`; not empty.
        scores: Names in :data:`benchmark.tables.SCORES`. None is the headline, and each student's accuracy
            where the peers' backbones differ.
        rows: Keys of :data:`benchmark.tables.layout.KEYS`.
        columns: The same, none of the rows'.
        baseline: The row (or the method) that the others are compared with.
    """
    wanted = layout.check_scores("columns", scores) if scores is not None else [HEADLINE]
    runs = layout.labelled(summaries(frame), rows, columns)
    cells: dict[tuple[str, Heading], Cell] = {}
    bases: dict[str, tuple[str, str]] = {}
    every, places = _records(runs), runs.groupby(["row", "column"], sort=False).indices
    for (row, column), group in runs.groupby(["row", "column"], sort=False):
        records = [every[place] for place in places[row, column]]
        bases[str(row)] = (str(group["method"].iloc[0]), str(group["base"].iloc[0]))
        mixed = scores is None and any("+" in str(record["backbone"]) for record in records)
        for score in [*wanted, *([EACH] if mixed else [])]:
            for part, cell in _cells(records, score).items():
                cells[str(row), Heading(str(column), score, part)] = cell
    by_method, across = rows[0] == "method", columns[0] == "method"
    methods = dict(zip(runs["column"], runs["method"], strict=True)) if across else {}
    labels = sorted(bases, key=lambda row: (method_order(bases[row][0]) if by_method else (), natural(row)))
    table = Table("/".join(rows), labels, _headings(cells, methods), cells)
    return table if baseline is None else compared(table, _baseline(table, baseline, bases))


_UNSCORED = ("train.", "data.", "hyperparameters.", "files.", "environment.", "method.", "dataset.")
"""Beginnings of the columns that no score is made of."""


def _records(runs: pd.DataFrame) -> list[Record]:
    """Return the runs one by one, as ``to_dict`` does several times slower."""
    names = [name for name in runs.columns if not str(name).startswith(_UNSCORED)]
    return [dict(zip(names, run, strict=True)) for run in zip(*(runs[name].tolist() for name in names), strict=True)]


def compared(table: Table, baseline: str) -> Table:
    """Return the table with the gains of all other rows over one of its rows."""
    gains: dict[tuple[str, Heading], Gain] = {}
    for (row, heading), cell in table.cells.items():
        reference = table.cells.get((baseline, heading))
        if row != baseline and reference and (gain := paired_gain(cell.values, reference.values)):
            gains[row, heading] = gain
    tested = {key: gain.p for key, gain in gains.items() if gain.p is not None}
    for key, adjusted in zip(tested, holm([*tested.values()]), strict=True):
        gains[key] = replace(gains[key], adjusted=adjusted)
    return replace(table, baseline=baseline, gains=gains)


def _baseline(table: Table, word: str, bases: Mapping[str, tuple[str, str]]) -> str:
    if word in table.rows:
        return word
    meant = [row for row in table.rows if word in bases[row]]
    if len(meant) > 1:
        raise InputError(f"baseline {word!r} means several rows: {'; '.join(meant)}")
    if not meant:
        raise unknown("baseline", word, table.rows)
    return meant[0]


def _headings(cells: Mapping[tuple[str, Heading], Cell], methods: Mapping[str, str]) -> list[Heading]:
    """Return the headings in order; the methods' own order comes first where columns have one."""
    position: dict[Heading, int] = {}
    for _, heading in cells:
        position.setdefault(heading, len(position))
    scores = list(dict.fromkeys(heading.score for heading in position))
    order = {column: method_order(method) for column, method in methods.items()}
    found = sorted(
        position,
        key=lambda key: (order.get(key.column, ()), natural(key.column), scores.index(key.score), natural(key.part)),
    )
    per_column = pd.Series([heading.column for heading in found]).value_counts()
    single = len(scores) == 1
    return [
        replace(
            heading,
            alone=heading.score == HEADLINE and (single or bool(per_column[heading.column] == 1 and EACH in scores)),
        )
        for heading in found
    ]


def method_order(name: str) -> tuple[int, str]:
    """Return a key that sorts methods as they are listed: by their publication, unknown ones last."""
    known = list(registry.catalogue())
    return known.index(name) if name in known else len(known), name


def natural(label: str) -> list[str | float]:
    """Return a key that sorts labels by the numbers in them: ``resnet8`` before ``resnet14``."""
    # words and numbers take turns, so that like is compared with like
    return [float(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]


def _cells(records: Sequence[Record], score: str) -> dict[str, Cell]:
    """Return the cells of runs that differ in nothing but the seed, by part of the score."""
    values: dict[str, dict[int, float]] = {}
    reasons: dict[Status, list[str]] = {status: [] for status in Status}
    # the same run may lie there twice, as when its images have been moved; it still counts once
    finished = {int(run["seed"]): run for run in records if Status(run["status"]) is Status.FINISHED}
    for run in records:
        status = Status(run["status"])
        if status is not Status.FINISHED and int(run["seed"]) not in finished:
            reasons[status].append(str(run["reason"]))
    for seed, run in finished.items():
        for part, value in of_run(score, run).items():
            values.setdefault(part, {})[seed] = value
    endings = [
        Ending(status, len(given), given[0])
        for status, given in reasons.items()
        if given and status is not Status.FINISHED
    ]
    if not values and score == EACH:
        return {}
    return {
        part: Cell(dict(sorted(found.items())), endings, SCORES[score].digits)
        for part, found in (values or {"": {}}).items()
    }


def mean_and_deviation(values: Sequence[float], digits: int = 2) -> str:
    """Return ``mean ± std (n)`` with the sample's standard deviation; one value has no ±."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f} (1)"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f} ({len(values)})"


def accuracy_table(frame: pd.DataFrame, scores: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table's cells as text, methods down, data sets and backbones across.

    Args:
        frame: From :func:`benchmark.store.load`.
        scores: As in :func:`build`.
    """
    if scores is not None:
        layout.check_scores("columns", scores)
    if frame.empty:
        return pd.DataFrame()
    table = build(frame, scores)
    return pd.DataFrame(
        [
            [table.cells[row, heading].text() if (row, heading) in table.cells else "" for heading in table.headings]
            for row in table.rows
        ],
        index=pd.Index(table.rows, name=table.corner),
        columns=[heading.text for heading in table.headings],
    )
