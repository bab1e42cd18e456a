"""Which runs, rows and columns a table or a figure shows, in which order, and how a person names them."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from benchmark import datasets
from benchmark.configuration import Suite
from benchmark.store import identity_in, select
from benchmark.tables import layout
from benchmark.tables.comparison import Declaration, statement
from benchmark.tables.configurations import shown_setting
from benchmark.tables.layout import summaries
from benchmark.tables.suites import Plan, declaration, plan_notes, plan_of, suite_runs
from methods import backbones, registry
from methods.errors import InputError, unknown

SPLITS = ("test", "validation", "all")


@dataclass(frozen=True)
class TableFilter:
    """What is shown."""

    where: str | None = None  # a condition on the runs; None for all
    split: str | None = None  # `test`, `validation` or `all`; None for those on the test set if there are any, else all
    hide: Sequence[str] = ()  # rows, or methods, that are left out
    rows: Sequence[str] = ()  # rows, or methods, in their order; none for all in their own order
    columns: Sequence[str] = ()  # columns, datasets or networks, in their order; none for all in their own order
    groups: Mapping[str, str] = field(default_factory=dict)  # the heading that a row, or a method's rows, are below
    suite: Suite | None = None  # the declared comparison whose runs are shown; None for all runs
    name: str = ""  # of the suite

    @property
    def declared(self) -> Declaration | None:
        """What was declared of the runs that are shown; None where a condition chooses among them (exploratory)."""
        asked = self.where is not None or self.split not in (None, "test")
        return None if self.suite is None or asked else declaration(self.name, self.suite)

    @property
    def whole(self) -> bool:
        """Whether nothing chooses among the runs or the methods, so that a stored plan of them applies."""
        return self.suite is None and self.where is None and not self.hide

    def plans_of(self, runs: Collection[str], plans: Sequence[Plan]) -> list[str]:
        """Return what is declared of runs that are shown without verdicts, and their other plans, a line each."""
        declared = self.declared or (plan_of(runs, plans, None) if self.whole else None)
        own = [] if declared is None else statement(declared, verdicts=False)
        return own + plan_notes(runs, plans, declared)

    def runs(self, frame: pd.DataFrame, keep_splits: bool = False) -> tuple[pd.DataFrame, list[str]]:
        """Return the runs that are chosen, and a line on what was left out without being asked for.

        Args:
            keep_splits: Whether runs on the validation split stay beside the others, as where it is a key.

        Raises:
            InputError: If a word is unknown, or no run is chosen.
        """
        if self.split is not None and self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        if frame.empty:
            return frame, []
        of_suite, notes = (frame, []) if self.suite is None else _in_one_environment(suite_runs(frame, self.suite))
        chosen = of_suite if self.where is None else select(of_suite, self.where)
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
        return kept, notes + ([f"{left} {runs} on validation images not shown (--split all)"] if left else [])

    def labels(self, runs: pd.DataFrame, labels: Sequence[str], axis: str, of_methods: bool) -> list[str]:
        """Return the rows, or the columns, that are shown, in order.

        A word that is a method, a dataset or a network without runs is passed over.

        Args:
            of_methods: Whether these are methods, which can be hidden.

        Raises:
            InputError: If a word means nothing, or nothing is left.
        """
        words = self.rows if axis == "row" else self.columns
        found = list(labels)
        if words:
            found = list(dict.fromkeys(label for word in words for label in self._matching(word, runs, labels, axis)))
            if not found:
                raise InputError(f"there are no runs of these {axis}s: {quoted(words)}")
        if of_methods and self.hide:
            hidden: set[str] = set()
            for word in self.hide:
                # a method's name hides all of its rows
                its = _of_method(word, runs, labels, axis) or [label for label in labels if label == word]
                if not its:
                    raise unknown("method to hide", word, {*labels, *runs["method"]}, quoted=True)
                hidden |= {*its}
            found = [label for label in found if label not in hidden]
            if not found:
                raise InputError("--hide leaves nothing to show")
        return found

    def hidden(self, frame: pd.DataFrame) -> set[str]:
        """Return the names of the runs of hidden rows alone."""
        if not self.hide:
            return set()
        runs = layout.arranged(summaries(frame)).runs
        shown = self.labels(runs, list(dict.fromkeys(runs["row"])), "row", of_methods=True)
        return set(runs["run"]) - set(runs.loc[runs["row"].isin(shown), "run"])

    def grouped(self, runs: pd.DataFrame, labels: Sequence[str]) -> dict[str, str]:
        """Return the heading above each row, where there is one."""
        return {row: name for word, name in self.groups.items() for row in self._matching(word, runs, labels, "row")}

    @staticmethod
    def _matching(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
        if found := matching(word, runs, labels, axis):
            return found
        of_data = set(runs.loc[(runs["dataset"] == word) | (runs["backbone"] == word), axis])
        known = {*labels, *registry.catalogue(), *backbones.available(), *datasets.available()}
        if not of_data and word.partition("[")[0] not in known:
            raise unknown(axis, word, {*labels, *runs["method"]} if axis == "row" else labels, quoted=True)
        return [label for label in labels if label in of_data]


_WITH_SETTINGS = re.compile(r"(?P<method>[^\[\]]+)\[(?P<settings>[^\[\]]+)\]")


def matching(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str = "row") -> list[str]:
    """Return the labels that match a word: the label itself, else all of a method's, as far as the settings fit.

    Args:
        word: A label; a method's name; or ``method[key=value, ...]`` with settings of the method.
    """
    # the plain name of several configurations is that of the usual one, if there is one
    return [word] if word in labels else _of_method(word, runs, labels, axis)


def _of_method(word: str, runs: pd.DataFrame, labels: Sequence[str], axis: str) -> list[str]:
    found = _WITH_SETTINGS.fullmatch(word.strip())
    name = found["method"].strip() if found else word
    own = runs[(runs["method"] == name) | (runs["variant"] == name) | (runs["base"] == name)]
    for part in found["settings"].split(",") if found else ():
        key, equals, value = map(str.strip, part.partition("="))
        if not equals:
            raise InputError(f"{word!r}: settings are written as method[key=value] (given: {part.strip()!r})")
        if own.empty:
            break
        columns = _settings(own)
        if key not in columns:
            raise unknown(f"setting in {word!r}", key, columns)
        own = own[own[columns[key]].map(shown_setting) == _as_shown(value)]
    kept = set(own[axis])
    return [label for label in labels if label in kept]


def only_row(kind: str, word: str, runs: pd.DataFrame, labels: Sequence[str]) -> str:
    """Return the one row that a word means, or raise an InputError if it means none, or several."""
    found = matching(word, runs, labels)
    if not found:
        raise unknown(kind, word, labels, quoted=True)
    if len(found) > 1:
        raise InputError(f"{kind} {word!r} means several rows: {quoted(found)}")
    return found[0]


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
        finished = own[own["status"] == "finished"]
        if finished["environment"].groupby(finished["run"].map(identity_in)).nunique().max() > 1:
            most = finished["environment"].value_counts().sort_index().idxmax()
            others = own.index[own["environment"] != most]
            runs = runs.drop(others)
            notes.append(f"{task}: {len(others)} runs of other environments than {most} not shown (--environment)")
    return runs, notes


def quoted(labels: Iterable[str]) -> str:
    """Return labels, which may have commas in them, as a list."""
    return ", ".join(map(repr, labels))


def _settings(runs: pd.DataFrame) -> Mapping[str, str]:
    """Return the columns with a method's own settings, by their short names; a training recipe of its own wins."""
    found: dict[str, str] = {}
    for beginning in ("train.", "method.", "files.", "hyperparameters.", layout.OWN):
        names = [name for name in runs.columns if name.startswith(beginning) and runs[name].notna().any()]
        found |= {name.rpartition(".")[2]: name for name in names}
    return found


def _as_shown(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value
