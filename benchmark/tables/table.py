"""From runs to a table: which runs share a cell, who is best, and what the differences to a baseline are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from benchmark.escaping import PLAIN, Markup
from benchmark.metrics import CLASS_PREFIX, CLASSES, EACH, HEADLINE, Metric, Run, cost_note, of_frame
from benchmark.tables import aggregate, layout, selection
from benchmark.tables.aggregate import Aggregate
from benchmark.tables.comparison import CONFIDENCE, MIN_PAIRS, POWER, Declaration, Gain, paired_gain, statement
from benchmark.tables.layout import method_order, natural, summaries
from benchmark.tables.replicates import Replicates, records, replicates
from benchmark.tables.selection import TableFilter
from benchmark.tables.style import TableStyle
from benchmark.tables.suites import Plan, plan_notes, plan_of
from methods.errors import InputError

EXPLORATORY = "exploratory: this comparison was not declared before its runs were looked at, so it has no verdicts"


@dataclass(frozen=True)
class Heading:
    """What a column of values holds."""

    column: str  # dataset, backbone and whatever else tells the runs apart; or a suite's task, and the budget
    metric: Metric  # which number of the runs
    part: str = ""  # which student or class, for a metric with one number for each
    # what the runs have in common; empty where there are only equal epochs
    budget: str = field(default="", compare=False)
    # whether the reported metric is all that the table shows of the column, and goes without saying
    alone: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        """What the column is named for programs: ``digits/resnet8:student``."""
        return ":".join(part for part in (self.column, self.metric.name, self.part) if part)

    @property
    def text(self) -> str:
        """The title of the column, in the words of the runs."""
        return self.shown(TableStyle())

    def shown(self, style: TableStyle, form: Markup = PLAIN) -> str:
        """Return the title of the column, in the words that a person has chosen."""
        return " ".join(part for part in (style.word(self.column, form), self.below(style, form)) if part)

    def below(self, style: TableStyle, form: Markup = PLAIN) -> str:
        """Return the student or the metric, if it has to be said."""
        if self.alone:
            return ""
        return form.text(self.part) if self.part else style.word(self.metric.name, form)


@dataclass(frozen=True)
class Table:
    """Values by row and heading.

    Attributes:
        corner: What the rows are.
        rows: Their labels, in order.
        headings: In order.
        replicates: A row need not have every one.
        baseline: The row that the gains refer to, or None.
        gains: By row and heading, where baseline and row share a seed.
        declaration: What was declared before; None for an exploratory comparison.
        resolve: The difference that seeds are planned for, where nothing was declared.
        aggregates: By row and budget, what several tasks say together of the row and the baseline.
        remarks: What the labels leave unsaid, a line each.
        style: How it is shown.
    """

    corner: str
    rows: Sequence[str]
    headings: Sequence[Heading]
    replicates: Mapping[tuple[str, Heading], Replicates]
    baseline: str | None = None
    gains: Mapping[tuple[str, Heading], Gain] = field(default_factory=dict)
    declaration: Declaration | None = None
    resolve: float | None = None
    aggregates: Mapping[tuple[str, str], Aggregate] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    style: TableStyle = field(default_factory=TableStyle)

    @property
    def compares(self) -> bool:
        """Whether the rows are what is compared: methods, and not datasets or seeds, of which none is the best."""
        return "method" in self.corner.split("/")

    @property
    def budgets(self) -> list[str]:
        """The budgets of the columns, in order."""
        return list(dict.fromkeys(heading.budget for heading in self.headings))

    def bound(self, heading: Heading) -> float | None:
        """Return the difference that matters in a column; None where neither a declaration nor a person says it."""
        return self.declaration.bounds.get(heading.metric.name) if self.declaration else self.resolve

    def values(self, heading: Heading) -> dict[str, float]:
        """Return a column's means by row, as they are shown: what looks the same counts as the same."""
        found = {row: self.replicates[row, heading] for row in self.rows if (row, heading) in self.replicates}
        return {row: round(one.mean, one.decimals) for row, one in found.items() if one.mean is not None}

    def leaders(self, heading: Heading) -> tuple[set[str], set[str]]:
        """Return the best rows of a column and the second best; none where there is nothing to compare."""
        values, end = self.values(heading), heading.metric.better
        order = sorted(set(values.values()), reverse=end == "high")
        if end is None or len(values) < 2 or not self.compares:
            return set(), set()
        best, second = ({row for row, value in values.items() if value in order[i : i + 1]} for i in (0, 1))
        return best, second

    def complete(self, budget: str) -> tuple[list[Heading], int]:
        """Return the columns of one budget in which every row has a value, and of how many.

        Of several metrics the first one that has a better end counts; there are none where there is nothing to compare.
        """
        ordered = [one for one in self.headings if one.metric.better and not one.part and one.budget == budget]
        judged = [heading for heading in ordered if heading.metric == ordered[0].metric]
        complete = [heading for heading in judged if len(self.values(heading)) == len(self.rows)]
        return complete if len(self.rows) > 1 and self.compares else [], len(judged)

    def ranks(self, budget: str = "") -> tuple[dict[str, float], int, int]:
        """Return each row's average rank over the tasks of a budget, over how many columns, and of how many.

        A row's rank in a column is that of its mean over the seeds; rows that look the same share a rank.
        """
        complete, judged = self.complete(budget)
        if not complete:
            return {}, 0, judged
        low = complete[0].metric.better == "low"
        ranks = pd.DataFrame({i: self.values(heading) for i, heading in enumerate(complete)}).rank(ascending=low)
        return {str(row): float(rank) for row, rank in ranks.mean(axis=1).items()}, len(complete), judged

    def notes(self) -> list[str]:
        """Return what a reader has to know, a line each."""
        style = self.style
        metrics = dict.fromkeys(heading.metric for heading in self.headings)
        lines = [f"{metric.name}: {metric.description}" for metric in metrics]
        lines += [f"mean ± standard deviation{self._seeds()}", *self.remarks]
        if any(one.unfinished for one in self.replicates.values()):
            lines.append("runs that did not finish are counted, not averaged")
        for column in dict.fromkeys(heading.column for heading in self.headings):
            costs = {key.metric.name: self.values(key) for key in self.headings if key.column == column}
            if note := cost_note(costs.get("training-multiply-adds", {}), costs.get("step-time", {})):
                lines.append(f"{column}: {note}")
        for budget in self.budgets if style.rank else ():
            ranks, used, judged = self.ranks(budget)
            if used:
                where = f" of {budget}" if budget else ""
                by = self.complete(budget)[0][0].metric.name
                lines.append(
                    f"average rank{where}: by {by}, over the {used} of {judged} columns in which every row has a value"
                )
            if used > 1 and self.baseline is not None:
                lines.append(aggregate.rank_note({style.word(row): rank for row, rank in ranks.items()}, used))
        return lines if self.baseline is None else lines + self._comparison_notes(style.word(self.baseline))

    def _seeds(self) -> str:
        counts = sorted({len(one.values) for one in self.replicates.values() if one.values})
        if self.style.n or not counts:
            return " (number of seeds)"
        return f" over {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} seed{'s' if counts[-1] > 1 else ''}"

    def _comparison_notes(self, baseline: str) -> list[str]:
        start = f"gain: mean difference to {baseline}, paired over the n seeds that both have"
        if not any(gain.p is not None for gain in self.gains.values()):
            lines = [f"{start}; no interval and no p, which take {MIN_PAIRS} seeds and differences that vary"]
        elif self.declaration is None:
            shown = f"{CONFIDENCE:.0%} t interval from n = {MIN_PAIRS} on and p of the paired t-test"
            lines = [f"{start}, with its {shown}, each for itself; {EXPLORATORY}"]
        else:
            lines = [f"{start}, with its t interval from n = {MIN_PAIRS} on", *statement(self.declaration)]
        if any(self.bound(heading) for heading in self.headings):
            at = f"{self.declaration.alpha:.2g}" if self.declaration else f"{1 - CONFIDENCE:.2g}, uncorrected"
            lines.append(
                f"paired sd: standard deviation of the differences to {baseline} at the same seed; seeds for "
                f"equivalence, for power: how many call a true difference of 0 equivalent, and show one as large as "
                f"the bound, with {POWER:.0%} power (level {at})"
            )
        return lines + (aggregate.notes(self.aggregates, baseline) if self.style.aggregates else [])


def build(
    frame: pd.DataFrame,
    scores: Sequence[str] | None = None,
    rows: Sequence[str] = layout.ROWS,
    columns: Sequence[str] = layout.COLUMNS,
    baseline: str | None = None,
    resolve: float | None = None,
    choice: TableFilter | None = None,
    showing: TableStyle | None = None,
    declaration: Declaration | None = None,
    plans: Sequence[Plan] = (),
) -> Table:
    """Return the table of all runs.

    Runs that differ in more than their seed are never averaged: what a method's runs differ in is named beside it,
    alike in all columns, what all differ in beside the dataset.

    Args:
        frame: From :func:`benchmark.store.load`; not empty.
        scores: Names of metrics (:func:`benchmark.metrics.of_frame`). None is the reported metric, and each student's
            accuracy where the peers' backbones differ.
        rows: Keys of :data:`benchmark.tables.layout.KEYS`.
        columns: The same, none of the rows'.
        baseline: The row that the others are compared with: its label, a method of one row, or
            ``method[key=value, ...]``.
        resolve: The difference that seeds are planned for, in the unit of the metrics. It needs a baseline.
        choice: Which rows and columns are shown, in which order; its conditions on runs are not asked here.
        showing: How they are shown.
        declaration: What was declared of these runs; None for an exploratory comparison.
        plans: The sequential plans that are stored with the runs: where all runs belong to one and no condition chooses
            among them, it is the declaration, and its baseline the usual one; any other plan of them is a remark.
    """
    choice, showing = choice or TableFilter(), showing or TableStyle()
    if choice.suite is not None:
        baseline = baseline or choice.suite.baseline
        declaration = declaration or choice.declared
    if declaration is not None and baseline != declaration.baseline:
        declaration = None
    if resolve is not None and baseline is None:
        raise InputError("resolve plans seeds for differences to a method: name it with baseline, such as independent")
    metrics = of_frame(frame)
    reported = [HEADLINE] if choice.suite is None else list(choice.suite.bounds)
    wanted = layout.check_names("columns", scores, metrics) if scores is not None else reported
    if CLASSES in wanted and not any(str(name).startswith(CLASS_PREFIX) for name in frame.columns):
        raise InputError(
            "no run recorded its accuracy on each class: bench run --set train.class_accuracy=true (with --force, anew)"
        )
    arrangement = layout.arranged(summaries(frame), rows, columns)
    runs = arrangement.runs
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in records(runs):
        cells.setdefault((run["row"], run["column"]), []).append(run)
    found: dict[tuple[str, Heading], Replicates] = {}
    for (row, column), own in cells.items():
        mixed = scores is None and any("+" in str(run["backbone"]) for run in own)
        for metric in (metrics[score] for score in [*wanted, *([EACH] if mixed else [])]):
            digits = showing.digits if metric.accuracy else None
            for part, one in replicates(own, metric, digits).items():
                found[row, Heading(column, metric, part, str(own[0]["budget"]))] = one
    orders = {
        axis: dict(zip(runs[axis], map(method_order, runs["method"]), strict=True)) if keys[0] == "method" else {}
        for axis, keys in (("row", rows), ("column", columns))
    }
    labels = sorted({row for row, _ in cells}, key=lambda row: (orders["row"].get(row, ()), natural(row)))
    kept = choice.labels(runs, labels, "row", arrangement.methods == "row")
    headings = _headings(found, orders["column"])
    across_all = list(dict.fromkeys(heading.column for heading in headings))
    order = choice.labels(runs, across_all, "column", arrangement.methods == "column")
    headings = sorted((key for key in headings if key.column in order), key=lambda key: order.index(key.column))
    if choice.suite is not None and not choice.columns:
        place = choice.suite.place
        headings.sort(key=lambda key: place(key.column, key.budget))
    showing = showing.resolved([*labels, *across_all], choice.grouped(runs, kept), metrics)
    remarks = arrangement.notes(kept if arrangement.methods == "row" else order, showing.word)
    if choice.suite is not None and (absent := [name for name in choice.suite.methods if name not in labels]):
        remarks.append(f"no runs are stored of {', '.join(absent)}")
    names = set(frame["run"])
    if declaration is None and choice.whole and list(rows) == ["method"]:
        planned = plan_of(names, plans, baseline)
        if planned is not None and planned.baseline in labels:
            baseline, declaration = planned.baseline, planned
    remarks += plan_notes(names, plans, declaration)
    every = {key: one for key, one in found.items() if key[1].column in order}
    shown = {key: one for key, one in every.items() if key[0] in kept}
    table = Table("/".join(rows), kept, headings, shown, remarks=remarks, style=showing)
    if baseline is None:
        return table
    if arrangement.methods == "column":
        raise InputError(f"a baseline is a row, and here the rows are {' and '.join(rows)}: methods are in the columns")
    # of a declared comparison the baseline may be hidden: verdicts depend on runs and declaration alone
    reference = selection.only_row("baseline", baseline, runs, kept if declaration is None else labels)
    return compared(table, reference, resolve, declaration, every)


def compared(
    table: Table,
    baseline: str,
    resolve: float | None = None,
    declaration: Declaration | None = None,
    every: Mapping[tuple[str, Heading], Replicates] | None = None,
) -> Table:
    """Return the table with the gains of all other rows over one of its rows.

    Args:
        resolve: The difference that seeds are planned for.
        declaration: What was declared; rows that are no method of it are exploratory.
        every: Values of rows that are not shown too, such as a hidden baseline's.
    """
    every = every or table.replicates
    gains: dict[tuple[str, Heading], Gain] = {}
    for (row, heading), own in table.replicates.items():
        reference = every.get((baseline, heading))
        if row == baseline or reference is None:
            continue
        if declaration is not None and row in declaration.methods and baseline == declaration.baseline:
            metric, ended = heading.metric, own.ended & reference.ended
            name = metric.name if not heading.part else ""
            gain = declaration.judge(own.values, reference.values, name, metric.better, ended)
        else:
            gain = paired_gain(own.values, reference.values)
        if gain is not None:
            gains[row, heading] = gain
    values = {key: one.values for key, one in every.items() if key[0] in (*table.rows, baseline)}
    alpha = declaration.alpha if declaration else 1 - CONFIDENCE
    found: dict[tuple[str, str], Aggregate] = {}
    for budget in table.budgets:
        complete, _ = table.complete(budget)
        low = bool(complete) and complete[0].metric.better == "low"
        found |= {
            (row, budget): one for row, one in aggregate.aggregates(values, baseline, complete, low, alpha).items()
        }
    return replace(table, baseline=baseline, gains=gains, declaration=declaration, resolve=resolve, aggregates=found)


def _headings(keys: Iterable[tuple[str, Heading]], order: Mapping[str, tuple[int, str]]) -> list[Heading]:
    """Return the headings in order; that of the methods comes first where columns have one."""
    given = list(dict.fromkeys(heading for _, heading in keys))
    scores = list(dict.fromkeys(heading.metric.name for heading in given))
    found = sorted(
        given,
        key=lambda key: (
            order.get(key.column, ()), natural(key.column), scores.index(key.metric.name), natural(key.part)
        ),
    )  # fmt: skip
    beside = Counter(heading.column for heading in found)
    single = len(scores) == 1
    return [
        replace(key, alone=key.metric.name == HEADLINE and (single or (beside[key.column] == 1 and EACH in scores)))
        for key in found
    ]
