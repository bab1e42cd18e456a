"""Runs that differ in their seeds alone: the name of their page, whose they are, how far they are checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from benchmark.configuration import RunConfig
from benchmark.configuration.run_config import Origin
from benchmark.exchange import Mark, Outcome, Submission, records
from benchmark.reports import Content, Group, command
from benchmark.site.gathering import Place
from benchmark.store import Found, StoredRun


@dataclass(frozen=True)
class RunSet:
    """The runs of a table's cell.

    Attributes:
        group: Their names, row and column.
        slug: The name of their page, which stays the same when others are added.
        mark: How far they are checked.
        outcomes: Of the runs that were repeated, by name.
        submissions: Whose they are, where they were handed in.
    """

    group: Group
    slug: str
    mark: Mark
    outcomes: Mapping[str, Outcome]
    submissions: Sequence[Submission] = ()

    @property
    def checked(self) -> str:
        """The mark, and how many of the runs it rests on."""
        return f"{self.mark} ({len(self.outcomes)} of {len(self.group.runs)})" if self.outcomes else str(self.mark)


def run_sets(content: Content, places: Sequence[Place]) -> list[RunSet]:
    """Return all run sets in the order of the tables.

    Args:
        content: The runs.
        places: Where they lie, with what was checked.
    """
    by_root = {place.root.resolve(): place for place in places}
    found = {one.record.name: one for one in content.stored.found}
    return [_run_set(content, group, [found[name] for name in group.runs], by_root) for group in content.groups]


def _run_set(content: Content, group: Group, found: Sequence[Found], by_root: Mapping[Path, Place]) -> RunSet:
    own = {one.record.name: by_root[one.root.resolve()] for one in found}
    outcomes = {}
    for one in found:
        outcome = own[one.record.name].record.outcome(one.record.name, one.record.digest)
        if outcome is not None and outcome is not Outcome.NOT_REPEATED:
            outcomes[one.record.name] = outcome
    handed_in = {place.submission.name: place for place in own.values() if place.submission}
    mark = records.mark(outcomes.values())
    if any(place.record.verdict is Mark.DIFFERS or place.disputed for place in handed_in.values()):
        mark = Mark.DIFFERS
    submissions = [place.submission for place in handed_in.values() if place.submission]
    return RunSet(group, _slug(group, content.runs[group.runs[0]].config), mark, outcomes, submissions)


def _slug(group: Group, config: RunConfig) -> str:
    # the column tells apart what one run was asked for as: equal epochs, equal cost, another name
    told = f"{config.model_copy(update={'seed': 0}).identity} {group.panel} {group.row}"
    words = re.sub(r"[^A-Za-z0-9+.]+", "-", f"{config.method}-{config.dataset.partition(':')[0]}-{config.backbone}")
    return f"{words[:80]}-{sha256(told.encode()).hexdigest()[:10]}"


def repeating(run: StoredRun, submissions: Sequence[Submission]) -> str:
    """Return the line that repeats a run anywhere: nothing in it is a path of the machine that made the run.

    Args:
        run: The run.
        submissions: Whose it may be: the plug-in's file lies in its folder.
    """
    theirs = {
        Path(plugin).name: f"submissions/{one.name}/{Path(plugin).name}"
        for one in submissions
        for plugin in one.plugins
    }
    plugins = [theirs.get(Path(plugin).name, Path(plugin).name) for plugin in run.config.origin.plugins]
    return command(run.config.model_copy(update={"origin": Origin(plugins=plugins)}), run.result)


def within(content: Content, groups: Sequence[Group]) -> Content:
    """Return some groups of the runs alone."""
    names = {name for group in groups for name in group.runs}
    return replace(content, groups=groups, runs={name: run for name, run in content.runs.items() if name in names})
