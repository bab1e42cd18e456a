"""What ``bench sweep`` does: choose configurations, carry out what is missing, report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

from rich.console import Console

from benchmark import optional_imports, running
from benchmark.configuration import TRIALS, RunConfig
from benchmark.console import say
from benchmark.datasets import Dataset
from benchmark.errors import TryAgainError
from benchmark.scheduling import Display, logging_backends
from benchmark.store import Status, atomic, check_folder
from benchmark.sweeps.answer import comparisons, detectable, expected_spread
from benchmark.sweeps.outcomes import Outcome, outcome, ranked
from benchmark.sweeps.plan import Configuration, Sweep, first_rung
from benchmark.sweeps.report import write_report
from benchmark.sweeps.space import Assignment, identity
from methods.errors import InputError

RECORD = "trials.json"
MAX_NOTES = 8


@dataclass
class SearchHistory:
    """The controls and what Optuna has chosen so far, in a file: it would not choose the same again."""

    path: Path
    sweep: Sweep
    assignments: list[Assignment]

    @classmethod
    def read(cls, sweep: Sweep) -> "SearchHistory":
        """Return the history of an earlier sweep of the same definition."""
        path = sweep.folder / RECORD
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            same = content["definition"] == sweep.definition
            known = [x for x in content["assignments"] if sweep.space.contains(x)] if same else []
        except (OSError, ValueError, KeyError, TypeError):
            known = []
        return cls(path, sweep, [*known, *(x for x in sweep.controls if x not in known)])

    def add(self, assignment: Assignment) -> Configuration:
        """Append a configuration to the file and return it."""
        self.assignments.append(assignment)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"definition": self.sweep.definition, "assignments": self.assignments}
        atomic.write_text(self.path, json.dumps(content, indent=1) + "\n")
        return self.sweep.configuration(len(self.assignments), assignment)


def carry_out(sweep: Sweep, console: Console, best: int | None = None) -> bool:
    """Carry out what is missing, and write table, best configuration and figures; return whether all is done.

    Args:
        best: Carry out the missing seeds of only so many configurations, the best so far.

    Raises:
        MachineError: If a library that the report is made with is missing.
        TryAgainError: If the time was up, or another command is at the rest; the report shows what there is.
    """
    # before anything is trained
    optional_imports.need("the report of a sweep", "matplotlib", "scipy", "sklearn")
    configurations = known(sweep)
    if best is not None:
        top = ranked([outcome(sweep, x) for x in configurations])[:best]
        todo = [x.configuration for x in top if x.n]
        if not todo:
            raise InputError("--best needs configurations that have finished: carry out the sweep without it first")
    else:
        todo = configurations
    missing = [run for x in todo for run in x.runs if not complete(sweep, run)]
    total = sum(len(x.runs) for x in todo)
    wanted = new_configurations(sweep, configurations) if best is None else 0
    plural = "configuration" if len(todo) == 1 else "configurations"
    running_out = f", and {wanted} configurations to be chosen" if wanted else ""
    say(console, f"{sweep.name}: {len(todo)} {plural}, {total} runs, {len(missing)} new runs{running_out}")
    if sweep.left_out:
        say(console, sweep.left_out)
    spread = expected_spread(sweep)
    say(console, detectable(sweep, max(1, comparisons(sweep, configurations) + wanted), spread))
    later = ""
    if missing or wanted:
        running.check_writable(sweep.command.store)
        check_folder(sweep.folder)
        later = _train(sweep, todo, missing, wanted, console)
        configurations = known(sweep)
    outcomes = [outcome(sweep, x) for x in configurations]
    write_report(sweep, outcomes, spread, console)
    done = all(complete(sweep, run) for x in (todo if best is not None else configurations) for run in x.runs)
    if later and not (done and (best is not None or not new_configurations(sweep, configurations))):
        raise TryAgainError(f"{later}: the sweep is not finished")
    return done


def known(sweep: Sweep) -> list[Configuration]:
    """Return the configurations that are chosen: all of a grid or random search, those so far of Optuna's."""
    if sweep.search != "optuna":
        return sweep.listed()
    return sweep.numbered(SearchHistory.read(sweep).assignments[: sweep.trials or TRIALS])


def new_configurations(sweep: Sweep, configurations: Sequence[Configuration]) -> int:
    """Return how many configurations are still to be chosen."""
    return max(0, (sweep.trials or TRIALS) - len(configurations)) if sweep.search == "optuna" else 0


def complete(sweep: Sweep, run: RunConfig) -> bool:
    """Return whether a run needs nothing more in this sweep; ASHA does not resume what it stopped."""
    result = sweep.command.store.result(run)
    return result is not None and result.status in _complete_statuses(sweep)


def _complete_statuses(sweep: Sweep) -> list[Status]:
    stopped = [Status.STOPPED] if sweep.scheduler == "asha" else []
    return [*(status for status in Status if status.final), *stopped]


def _train(
    sweep: Sweep, todo: Sequence[Configuration], missing: Sequence[RunConfig], wanted: int, console: Console
) -> str:
    """Carry out what is missing; return why the same command later gets further, if that is so."""
    command = sweep.command
    sets = running.load_sets(command, [sweep.base])
    for line in notes(sweep, todo, sets):
        say(console, f"note: {line}")
    if sweep.search != "optuna" and sweep.scheduler == "none":
        return running.why_later(running.train(replace(command, runs=missing), missing, sets, console, sweep.label))
    from benchmark.scheduling import set_environment

    set_environment(command.cluster)
    from benchmark.scheduling import ListSearcher
    from benchmark.sweeps import search

    if sweep.scheduler == "asha":
        # what is done is reported again, an epoch at a time, so that the scheduler compares with it
        waiting, done = list(todo), []
    else:
        waiting = [x for x in todo if not all(complete(sweep, run) for run in x.runs)]
        done = [x for x in todo if x not in waiting]
    if sweep.search == "optuna":
        outcomes: list[Outcome] = [outcome(sweep, x) for x in done]
        # a run without a result counts as 0
        scores = {
            identity(x.configuration.assignment): mean(x.scores.get(s, 0.0) for s in sweep.seeds) for x in outcomes
        }
        searcher: ListSearcher = search.OptunaSearcher(sweep, waiting, scores, SearchHistory.read(sweep).add)
    else:
        searcher = ListSearcher([x.runs for x in waiting])
    with Display(len(missing) + wanted * len(sweep.seeds), console, sweep.label) as shown:
        observer = logging_backends.with_logs(shown, command.log, command.store)
        images = sets[sweep.base.dataset]
        say_it = partial(say, console)
        return search.carry_out(
            sweep, searcher, len(waiting) + wanted, _complete_statuses(sweep), images, observer, say_it
        )


def notes(sweep: Sweep, configurations: Sequence[Configuration], sets: Mapping[str, Dataset]) -> list[str]:
    """Return what does not fit the runs' length, one line each, and the configurations concerned."""
    found: dict[str, list[str]] = {}
    for configuration in configurations:
        for line in running.remarks(configuration.runs[:1], sets, sweep.command.plugins):
            found.setdefault(line, []).append(configuration.label)
    lines = [f"{line} [{_which(labels, len(configurations))}]" for line, labels in found.items()]
    train, rung = sweep.base.train, first_rung(sweep.base.train.epochs)
    if sweep.scheduler == "asha" and train.eval_every > rung:
        lines.insert(
            0, f"asha compares after epoch {rung}: train.eval_every={train.eval_every} has no accuracy by then"
        )
    if (left := len(lines) - MAX_NOTES) <= 0:
        return lines
    return [*lines[:MAX_NOTES], f"{left} more such lines: the table says which loss terms are inactive"]


def _which(labels: Sequence[str], total: int) -> str:
    if len(labels) == total:
        return "all configurations"
    more = f" and {len(labels) - 2} more" if len(labels) > 2 else ""
    return "; ".join(labels[:2]) + more


def print_plan(sweep: Sweep, console: Console) -> None:
    """Print the space and every configuration that is chosen, and whether it is done already."""
    for parameter in sweep.space.parameters:
        say(console, f"space: {parameter}")
    configurations = known(sweep)
    for x in configurations:
        done = sum(complete(sweep, run) for run in x.runs)
        say(console, f"{x.number:>4}  {x.label}  ({done} of {len(x.runs)} seeds done)")
    if wanted := new_configurations(sweep, configurations):
        say(console, f"{wanted} more configurations are chosen during the search")
    if sweep.left_out:
        say(console, sweep.left_out)
    say(console, detectable(sweep, max(1, comparisons(sweep, configurations) + wanted), expected_spread(sweep)))
