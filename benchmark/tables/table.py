"""From runs to a table: which runs share a cell, who is best, and what the differences to a baseline are."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from benchmark.escaping import PLAIN, Markup
from benchmark.metrics import CLASS_PREFIX, CLASSES, EACH, HEADLINE, Metric, Run, cost_note, of_frame
from benchmark.tables import gains, layout
from benchmark.tables.comparison import Declaration, Plan, note_lines, plan_notes, plan_of, statement
from benchmark.tables.gains import Aggregate, Gain, paired_gain
from benchmark.tables.layout import method_order, natural, summaries
from benchmark.tables.replicates import Replicates, records, replicates
from benchmark.tables.selection import TableFilter, TableStyle, matching, quoted
from methods.errors import InputError, unknown


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
    """Values by row and heading."""

    corner: str  # what the rows are
    rows: Sequence[str]  # their labels, in order
    headings: Sequence[Heading]  # in order
    replicates: Mapping[tuple[str, Heading], Replicates]  # a row need not have every one
    baseline: str | None = None  # the row that the gains refer to, or None
    reference: Mapping[Heading, Replicates] = field(default_factory=dict)  # that row's values; it may be hidden
    declaration: Declaration | None = None  # what was declared before; None for an exploratory comparison
    others: Sequence[Declaration] = ()  # further ones; a row's is the first that has its method
    resolve: float | None = None  # the difference that seeds are planned for, where nothing was declared
    remarks: Sequence[str] = ()  # what the labels leave unsaid, a line each
    style: TableStyle = field(default_factory=TableStyle)  # how it is shown
    groups: Mapping[str, str] = field(default_factory=dict)  # the heading above a row and those that follow, by row

    def declared(self, row: str) -> Declaration | None:
        """Return the declaration that compares a row with the baseline, or None."""
        every = [one for one in (self.declaration, *self.others) if one and one.baseline == self.baseline]
        return next((one for one in every if row in one.methods), None)

    @cached_property
    def gains(self) -> dict[tuple[str, Heading], Gain]:
        """The differences to the baseline, where a row shares a seed with it, those of a declaration with verdicts."""
        found = {}
        for (row, heading), own in self.replicates.items():
            reference, metric = self.reference.get(heading), heading.metric
            if row == self.baseline or reference is None:
                continue
            if declared := self.declared(row):
                name, ended = "" if heading.part else metric.name, own.ended & reference.ended
                gain = declared.judge(own.values, reference.values, name, metric.better, ended)
            else:
                gain = paired_gain(own.values, reference.values)
            if gain is not None:
                found[row, heading] = gain
        return found

    @cached_property
    def aggregates(self) -> dict[tuple[str, str], Aggregate]:
        """By row and budget what several tasks say together of the row and the baseline.

        They do so where there are two columns or more in which every row has a value, and in each at least three seeds
        that row and baseline share.
        """
        found = {}
        for budget, row in itertools.product(self.budgets, self.rows):
            complete, pairs = self.complete(budget)[0], []
            for heading in complete if row != self.baseline else ():
                ours, reference = self.replicates[row, heading].values, self.reference.get(heading)
                theirs = reference.values if reference else {}
                seeds = sorted(ours.keys() & theirs.keys())
                pairs.append(([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]))
            if len(pairs) > 1 and all(len(ours) >= gains.MIN_PAIRS for ours, _ in pairs):
                from benchmark.tables.statistics import aggregate

                found[row, budget] = aggregate(pairs, complete[0].metric.better == "low", self.alpha)
        return found

    @property
    def budgets(self) -> list[str]:
        """The budgets of the columns, in order."""
        return list(dict.fromkeys(heading.budget for heading in self.headings))

    @property
    def alpha(self) -> float:
        """The level of each comparison."""
        return self.declaration.alpha if self.declaration else gains.ALPHA

    def bound(self, heading: Heading) -> float | None:
        """Return the difference that matters in a column; None where neither a declaration nor a person says it."""
        return self.declaration.bounds.get(heading.metric.name) if self.declaration else self.resolve

    def values(self, heading: Heading) -> dict[str, float]:
        """Return a column's means by row, as they are shown: what looks the same counts as the same."""
        found = {row: self.replicates[row, heading] for row in self.rows if (row, heading) in self.replicates}
        return {row: round(one.mean, one.decimals) for row, one in found.items() if one.mean is not None}

    def leaders(self, heading: Heading) -> tuple[set[str], set[str]]:
        """Return the best rows of a column and the second best; none where there is nothing to compare."""
        values, better = self.values(heading), heading.metric.better
        if better is None or len(values) < 2:
            return set(), set()
        places = pd.Series(values).rank(method="dense", ascending=better == "low")
        best, second = (set(places.index[places == place]) for place in (1, 2))
        return best, second

    def complete(self, budget: str) -> tuple[list[Heading], int]:
        """Return the columns of one budget in which every row has a value, and of how many.

        Of several metrics the first one that has a better end counts; there are none where there is nothing to compare.
        """
        ordered = [one for one in self.headings if one.metric.better and not one.part and one.budget == budget]
        judged = [heading for heading in ordered if heading.metric == ordered[0].metric]
        complete = [heading for heading in judged if len(self.values(heading)) == len(self.rows)]
        return complete if len(self.rows) > 1 else [], len(judged)

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
        style, own = self.style, self.replicates.values()
        costs: dict[str, str] = {}
        for column in dict.fromkeys(heading.column for heading in self.headings):
            means = {key.metric.name: self.values(key) for key in self.headings if key.column == column}
            costs[column] = cost_note(means.get("training-multiply-adds", {}), means.get("step-time", {}))
        return note_lines(
            "notes.j2",
            table=self,
            baseline=style.word(self.baseline or ""),
            metrics=dict.fromkeys(heading.metric for heading in self.headings),
            counts=sorted({len(one.values) for one in own if one.values}),
            unfinished=any(one.unfinished for one in own),
            costs=costs,
            differing=lambda ranks, used: differing_ranks({style.word(row): ranks[row] for row in ranks}, used),
            tested=any(gain.p is not None for gain in self.gains.values()),
            constants=gains,
            statement=statement,
            bounded=any(self.bound(heading) for heading in self.headings),
        )


def differing_ranks(ranks: Mapping[str, float], columns: int) -> tuple[float, list[str]]:
    """Return Nemenyi's critical difference, and the pairs of rows whose average ranks are as far apart."""
    from benchmark.tables.statistics import critical_difference

    distance, ordered = critical_difference(len(ranks), columns), sorted(ranks, key=ranks.__getitem__)
    pairs = itertools.combinations(ordered, 2)
    return distance, [f"{a} and {b}" for a, b in pairs if ranks[b] - ranks[a] >= distance]


def build(
    frame: pd.DataFrame,
    scores: Sequence[str] | None = None,
    by_seed: bool = False,
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
        by_seed: Whether each seed has a row of its own.
        baseline: The row that the others are compared with: a label, a method of one row, or ``method[key=value]``.
        resolve: The difference that seeds are planned for, in the unit of the metrics. It needs a baseline.
        choice: Which rows and columns are shown, in which order; its conditions on runs are not asked here.
        showing: How they are shown.
        declaration: What was declared of these runs; None for an exploratory comparison.
        plans: The sequential plans that are stored with the runs: where all runs belong to one and no condition chooses
            among them, it is the declaration, and its baseline the usual one; any other plan of them is a remark.
    """
    choice, showing = choice or TableFilter(), showing or TableStyle()
    suite = choice.roster
    if suite is not None:
        baseline = baseline or suite.baseline
        declaration = declaration or choice.declared
    if declaration is not None and baseline != declaration.baseline:
        declaration = None
    if resolve is not None and baseline is None:
        raise InputError("resolve plans seeds for differences to a method: name it with baseline, such as independent")
    metrics = of_frame(frame)
    reported = [HEADLINE] if suite is None else list(suite.bounds)
    wanted = layout.check_names("columns", scores, metrics) if scores is not None else reported
    if CLASSES in wanted and not any(str(name).startswith(CLASS_PREFIX) for name in frame.columns):
        raise InputError(
            "no run recorded its accuracy on each class: bench run --set train.class_accuracy=true (with --force, anew)"
        )
    arrangement = layout.arranged(summaries(frame), by_seed)
    runs, cells = arrangement.runs, defaultdict[tuple[str, str], list[Run]](list)
    for run in records(runs):
        cells[run["row"], run["column"]].append(run)
    found: dict[tuple[str, Heading], Replicates] = {}
    for (row, column), own in cells.items():
        mixed = scores is None and any("+" in str(run["backbone"]) for run in own)
        for metric in (metrics[score] for score in [*wanted, *([EACH] if mixed else [])]):
            digits = showing.digits if metric.accuracy else None
            for part, one in replicates(own, metric, digits).items():
                found[row, Heading(column, metric, part, str(own[0]["budget"]))] = one
    methods = dict(zip(runs["row"], runs["method"], strict=True))
    labels = sorted(methods, key=lambda row: (method_order(methods[row]), natural(row)))
    across = sorted(set(runs["column"]), key=natural)
    kept, order = choice.shown_labels(runs, labels, "row"), choice.shown_labels(runs, across, "column")

    def place(key: Heading) -> tuple[object, ...]:
        return order.index(key.column), [*wanted, EACH].index(key.metric.name), natural(key.part)

    headings = sorted({key for _, key in found if key.column in order}, key=place)
    divided = {key.column for key in headings if key.metric.name == EACH}
    if {*wanted} <= {HEADLINE, EACH}:
        headings = [replace(key, alone=key.metric.name == HEADLINE and key.column not in divided) for key in headings]
    showing = showing.resolved([*labels, *across], metrics)
    remarks = arrangement.notes(kept, showing.word)
    if suite is not None:
        if not choice.columns:
            in_suite = suite.place
            headings.sort(key=lambda key: in_suite(key.column, key.budget))
        if absent := [name for name in suite.methods if name not in labels]:
            remarks.append(f"no runs are stored of {', '.join(absent)}")
    names = set(frame["run"])
    if declaration is None and choice.whole and not by_seed:
        planned = plan_of(names, plans, baseline)
        if planned is not None and planned.baseline in labels:
            baseline, declaration = planned.baseline, planned
    remarks += plan_notes(names, plans, declaration)
    groups = choice.grouped(runs, kept)
    shown = {key: found[key] for key in itertools.product(kept, headings) if key in found}
    corner = "method/seed" if by_seed else "method"
    table = Table(corner, kept, headings, shown, remarks=remarks, style=showing, groups=groups)
    if baseline is None:
        return table
    # of a declared comparison the baseline may be hidden: verdicts depend on runs and declaration alone
    among = kept if declaration is None else labels
    if not (reference := matching(baseline, runs, among)):
        raise unknown("baseline", baseline, among, quoted=True)
    if len(reference) > 1:
        raise InputError(f"baseline {baseline!r} means several rows: {quoted(reference)}")
    return compared(table, reference[0], declaration, resolve, found)


def compared(
    table: Table,
    baseline: str,
    declaration: Declaration | None = None,
    resolve: float | None = None,
    every: Mapping[tuple[str, Heading], Replicates] | None = None,
) -> Table:
    """Return the table with the gains of all other rows over one of its rows.

    Args:
        declaration: What was declared; rows that are no method of it are exploratory.
        resolve: The difference that seeds are planned for.
        every: Values of rows that are not shown too, such as a hidden baseline's.
    """
    reference = {heading: one for (row, heading), one in (every or table.replicates).items() if row == baseline}
    return replace(table, baseline=baseline, reference=reference, declaration=declaration, resolve=resolve)
