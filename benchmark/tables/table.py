"""From runs to a table: which runs share a cell, who is best, and what the differences to a baseline are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from benchmark.escaping import PLAIN, Markup
from benchmark.metrics import CLASS_PREFIX, CLASSES, EACH, HEADLINE, Metric, of_frame
from benchmark.tables import aggregate, layout, rows as naming
from benchmark.tables.aggregate import Aggregate, aggregates
from benchmark.tables.cells import Cell, cells_of, records
from benchmark.tables.choosing import Choice
from benchmark.tables.ordering import method_order, natural, summaries
from benchmark.tables.showing import Showing
from benchmark.tables.significance import ALPHA, CONFIDENCE, MIN_PAIRS, Gain, gains
from benchmark.tables.verdicts import Judgement, judged
from methods.errors import InputError


@dataclass(frozen=True)
class Heading:
    """What a column holds.

    Attributes:
        column: Data set, backbone and whatever else tells the runs apart.
        metric: Which number of the runs.
        part: Which student or class, for a metric with one number for each.
        alone: Whether the headline is all that the table shows of the column, and goes without saying.
    """

    column: str
    metric: Metric
    part: str = ""
    alone: bool = field(default=False, compare=False)

    @property
    def score(self) -> str:
        """The metric's name."""
        return self.metric.name

    @property
    def text(self) -> str:
        """What stands above the column, in the words of the runs."""
        return self.shown(Showing())

    def shown(self, showing: Showing, form: Markup = PLAIN) -> str:
        """Return what stands above the column, in the words that a person has chosen."""
        return " ".join(part for part in (showing.word(self.column, form), self.below(showing, form)) if part)

    def below(self, showing: Showing, form: Markup = PLAIN) -> str:
        """Return what stands below the column's own heading: the student or the score, if it has to be said."""
        if self.alone:
            return ""
        return form.text(self.part) if self.part else showing.word(self.score, form)


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
        judgement: What they come to; None if that was not asked for.
        aggregates: By row, what several columns say together of the row and the baseline.
        remarks: What the labels leave unsaid, a line each.
        showing: How it is shown.
    """

    corner: str
    rows: Sequence[str]
    headings: Sequence[Heading]
    cells: Mapping[tuple[str, Heading], Cell]
    baseline: str | None = None
    gains: Mapping[tuple[str, Heading], Gain] = field(default_factory=dict)
    judgement: Judgement | None = None
    aggregates: Mapping[str, Aggregate] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    showing: Showing = field(default_factory=Showing)

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
        values, end = self.values(heading), heading.metric.better
        order = sorted(set(values.values()), reverse=end == "high")
        if end is None or len(values) < 2 or not self.compares:
            return set(), set()
        best, second = ({row for row, value in values.items() if value in order[i : i + 1]} for i in (0, 1))
        return best, second

    def complete(self) -> tuple[list[Heading], int]:
        """Return the columns in which every row has a value, and of how many.

        Of several scores the first one that has a better end counts; there are none where there is nothing to compare.
        """
        ordered = [heading for heading in self.headings if heading.metric.better and not heading.part]
        judged = [heading for heading in ordered if heading.score == ordered[0].score]
        complete = [heading for heading in judged if len(self.values(heading)) == len(self.rows)]
        return complete if len(self.rows) > 1 and self.compares else [], len(judged)

    def ranks(self) -> tuple[dict[str, float], int, int]:
        """Return each row's average rank over the complete columns, how many these are, and of how many."""
        complete, judged = self.complete()
        if not complete:
            return {}, 0, judged
        low = complete[0].metric.better == "low"
        ranks = pd.DataFrame({i: self.values(heading) for i, heading in enumerate(complete)}).rank(ascending=low)
        return {str(row): float(rank) for row, rank in ranks.mean(axis=1).items()}, len(complete), judged

    def notes(self) -> list[str]:
        """Return what a reader has to know, a line each."""
        showing = self.showing
        metrics = dict.fromkeys(heading.metric for heading in self.headings)
        lines = [
            *(f"{metric.name}: {metric.description}" for metric in metrics),
            "mean ± standard deviation" + self._seeds(),
            *self.remarks,
        ]
        if any(cell.endings for cell in self.cells.values()):
            lines.append("runs that did not finish are counted, not averaged")
        ranks, used, judged = self.ranks()
        if used and showing.rank:
            lines.append(
                f"average rank: by {scores_of(self.headings)[0]}, over the {used} of {judged} columns "
                "in which every row has a value"
            )
        if self.baseline is not None:
            if used > 1 and showing.rank:
                lines.append(aggregate.rank_note({showing.word(row): rank for row, rank in ranks.items()}, used))
            lines.append(self._gain_note())
            if showing.aggregates:
                lines += aggregate.notes(self.aggregates, showing.word(self.baseline))
        return [*lines, *(self.judgement.notes if self.judgement else ())]

    def _seeds(self) -> str:
        counts = sorted({len(cell.values) for cell in self.cells.values() if cell.values})
        if self.showing.n or not counts:
            return " (number of seeds)"
        return f" over {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} seed{'s' if counts[-1] > 1 else ''}"

    def _gain_note(self) -> str:
        baseline = self.showing.word(self.baseline or "")
        start = f"gain: mean difference to {baseline}, paired over the n seeds that both have"
        tested = sum(gain.p is not None for gain in self.gains.values())
        if not tested:
            return f"{start}; no interval and no p, which take {MIN_PAIRS} seeds and differences that vary"
        several = f"comparison{'' if tested == 1 else 's'}"
        marked = ", marked *" if self.showing.p else ""
        return (
            f"{start}, with its t interval from n = {MIN_PAIRS} on and p of the paired t-test; p and interval are both "
            f"Holm-corrected for {tested} {several}: an interval, at the level of its step of Holm's procedure "
            f"({1 - ALPHA / tested:.4g} for the first, {CONFIDENCE:.4g} for one comparison), leaves 0 out "
            f"exactly where p is below {ALPHA:.2g}{marked}"
        )


def scores_of(headings: Sequence[Heading]) -> list[str]:
    """Return the scores that have a better end, in order."""
    return [heading.score for heading in headings if heading.metric.better]


def build(
    frame: pd.DataFrame,
    scores: Sequence[str] | None = None,
    rows: Sequence[str] = layout.ROWS,
    columns: Sequence[str] = layout.COLUMNS,
    baseline: str | None = None,
    resolve: float | None = None,
    choice: Choice | None = None,
    showing: Showing | None = None,
) -> Table:
    """Return the table of all runs.

    Runs that differ in more than their seed are never averaged: what a method's runs differ in is named beside it,
    alike in all columns, what all differ in beside the data set.

    Args:
        frame: From :func:`benchmark.store.load`; not empty.
        scores: Names of metrics (:func:`benchmark.metrics.of_frame`). None is the headline, and each student's accuracy
            where the peers' backbones differ.
        rows: Keys of :data:`benchmark.tables.layout.KEYS`.
        columns: The same, none of the rows'.
        baseline: The row that the others are compared with: its label, a method of one row, or
            ``method[key=value, ...]``.
        resolve: The difference that matters, in the unit of the scores: each comparison gets a verdict. It needs a
            baseline.
        choice: Which rows and columns are shown, in which order; its conditions on runs are not asked here.
        showing: How they are shown.
    """
    if resolve is not None and baseline is None:
        raise InputError("resolve judges differences to a method: name it with baseline, such as independent")
    metrics = of_frame(frame)
    wanted = layout.check_metrics("columns", scores, metrics) if scores is not None else [HEADLINE]
    if CLASSES in wanted and not any(str(name).startswith(CLASS_PREFIX) for name in frame.columns):
        raise InputError(
            "no run noted its accuracy on each class: bench run --set train.class_accuracy=true (with --force, anew)"
        )
    arrangement = layout.arranged(summaries(frame), rows, columns)
    runs = arrangement.runs
    cells: dict[tuple[str, Heading], Cell] = {}
    row_methods: dict[str, str] = {}
    every, places = records(runs), runs.groupby(["row", "column"], sort=False).indices
    for (row, column), group in runs.groupby(["row", "column"], sort=False):
        own = [every[place] for place in places[row, column]]
        row_methods[str(row)] = str(group["method"].iloc[0])
        mixed = scores is None and any("+" in str(record["backbone"]) for record in own)
        for score in [*wanted, *([EACH] if mixed else [])]:
            for part, cell in cells_of(own, metrics[score]).items():
                cells[str(row), Heading(str(column), metrics[score], part)] = cell
    by_method, across = rows[0] == "method", columns[0] == "method"
    methods = dict(zip(runs["column"], runs["method"], strict=True)) if across else {}
    choice, showing = choice or Choice(), showing or Showing()
    labels = sorted(row_methods, key=lambda row: (method_order(row_methods[row]) if by_method else (), natural(row)))
    kept = choice.labels(runs, labels, "row", arrangement.methods == "row")
    headings = _headings(cells, methods)
    across_all = list(dict.fromkeys(heading.column for heading in headings))
    order = choice.labels(runs, across_all, "column", arrangement.methods == "column")
    headings = sorted((key for key in headings if key.column in order), key=lambda key: order.index(key.column))
    showing = showing.resolved([*labels, *across_all], choice.grouped(runs, kept), metrics)
    shown_cells = {
        (row, heading): showing.in_digits(cell, heading.metric)
        for (row, heading), cell in cells.items()
        if row in kept and heading.column in order
    }
    remarks = arrangement.notes(kept if arrangement.methods == "row" else order, showing.word)
    table = Table("/".join(rows), kept, headings, shown_cells, remarks=remarks, showing=showing)
    if baseline is None:
        return table
    if arrangement.methods == "column":
        raise InputError(
            f"a baseline is a row, and here the rows are {' and '.join(rows)}: methods stand in the columns"
        )
    return compared(table, naming.one("baseline", baseline, runs, kept), resolve)


def compared(table: Table, baseline: str, resolve: float | None = None) -> Table:
    """Return the table with the gains of all other rows over one of its rows.

    Args:
        table: Without gains.
        baseline: The row.
        resolve: The difference that matters, for a verdict on each.
    """
    scores = {key: cell.values for key, cell in table.cells.items()}
    found = gains(scores, baseline)
    better = {heading: heading.metric.better for heading in table.headings}
    judgement = None if resolve is None else judged(scores, found, baseline, resolve, better)
    complete, _ = table.complete()
    low = bool(complete) and complete[0].metric.better == "low"
    together = aggregates(scores, baseline, complete, low)
    return replace(table, baseline=baseline, gains=found, judgement=judgement, aggregates=together)


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


def accuracy_table(frame: pd.DataFrame, scores: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table's cells as text, methods down, data sets and backbones across.

    Args:
        frame: From :func:`benchmark.store.load`.
        scores: As in :func:`build`.
    """
    if scores is not None:
        layout.check_metrics("columns", scores, of_frame(frame))
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
