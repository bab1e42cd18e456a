"""What ``bench sweep`` does: choose configurations, carry out what is missing, report."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from benchmark import optional_imports, running
from benchmark.configuration import TRIALS
from benchmark.console import say
from benchmark.datasets import Dataset
from benchmark.errors import TryAgainError
from benchmark.formatting import counted
from benchmark.scheduling import set_environment
from benchmark.store import check_folder, put
from benchmark.sweeps.outcomes import beforehand, complete, outcome, ranked
from benchmark.sweeps.plan import Configuration, Sweep, first_rung
from benchmark.sweeps.space import Assignment
from methods.errors import InputError

RECORD = "trials.json"


def recorded(sweep: Sweep) -> list[Assignment]:
    """Return the controls and what Optuna has chosen so far in a sweep of the same definition, as on record."""
    try:
        content = json.loads((sweep.folder / RECORD).read_text(encoding="utf-8"))
        same = content["definition"] == sweep.definition
        found = [x for x in content["assignments"] if sweep.space.contains(x)] if same else []
    except (OSError, ValueError, KeyError, TypeError):
        found = []
    return [*found, *(x for x in sweep.controls if x not in found)]


def record(sweep: Sweep, assignment: Assignment) -> Configuration:
    """Append a configuration to the record, since Optuna would not choose the same again, and return it."""
    assignments = [*recorded(sweep), assignment]
    content = {"definition": sweep.definition, "assignments": assignments}
    put(sweep.folder / RECORD, json.dumps(content, indent=1) + "\n")
    return sweep.configuration(len(assignments), assignment)


def known(sweep: Sweep) -> list[Configuration]:
    """Return the configurations that are chosen: all of a grid or random search, those so far of Optuna's."""
    if sweep.search != "optuna":
        return sweep.listed()
    return sweep.numbered(recorded(sweep)[: sweep.trials or TRIALS])


def new_configurations(sweep: Sweep, chosen: Sequence[Any]) -> int:
    """Return how many configurations are still to be chosen."""
    return max(0, (sweep.trials or TRIALS) - len(chosen)) if sweep.search == "optuna" else 0


def carry_out(sweep: Sweep, console: Console, best: int | None = None) -> bool:
    """Carry out what is missing, and write table, best configuration and figures; return whether all is done.

    Args:
        best: Carry out the missing seeds of only so many configurations, the best so far.

    Raises:
        MachineError: If a library that the report is made with is missing.
        TryAgainError: If the time was up, or another command is at the rest; the report shows what there is.
    """
    # before anything is trained
    optional_imports.need("the report of a sweep", "matplotlib", "scipy")
    from benchmark.sweeps.report import write_report

    outcomes = todo = [outcome(sweep, x) for x in known(sweep)]
    if best is not None:
        todo = [x for x in ranked(outcomes)[:best] if x.n]
        if not todo:
            raise InputError("--best needs configurations that have finished: carry out the sweep without it first")
    runs = [run for x in todo for run in x.configuration.runs]
    missing = [run for run in runs if not complete(sweep, run)]
    wanted = new_configurations(sweep, outcomes) if best is None else 0
    counts = f"{counted(len(todo), 'configuration')}, {len(runs)} runs"
    running_out = f", and {wanted} configurations to be chosen" if wanted else ""
    say(console, f"{sweep.name}: {counts}, {len(missing)} new runs{running_out}")
    say(console, *beforehand(sweep, outcomes, wanted))
    later = ""
    if missing or wanted:
        running.check_writable(sweep.command.store)
        check_folder(sweep.folder)
        images = running.load_sets(sweep.command, [sweep.base])
        say(console, *(f"note: {line}" for line in notes(sweep, [x.configuration for x in todo], images)))
        if sweep.search == "optuna" or sweep.scheduler == "asha":
            set_environment(sweep.command.cluster)
            from benchmark.sweeps import search

            later = search.carry_out(sweep, todo, wanted, partial(record, sweep), images, console)
        else:
            command = sweep.command.of(missing)
            later = running.why_later(running.train(command, missing, images, console, sweep.label))
        outcomes = [outcome(sweep, x) for x in known(sweep)]
    write_report(sweep, outcomes, console)
    if best is None:
        todo, wanted = outcomes, new_configurations(sweep, outcomes)
    done = all(complete(sweep, run) for x in todo for run in x.configuration.runs)
    if later and (wanted or not done):
        raise TryAgainError(f"{later}: the sweep is not finished")
    return done


def notes(sweep: Sweep, configurations: Sequence[Configuration], sets: Mapping[str, Dataset]) -> list[str]:
    """Return what does not fit the runs' length, one line each, and the configurations concerned."""
    found: dict[str, list[str]] = {}
    train, rung = sweep.base.train, first_rung(sweep.base.train.epochs)
    if sweep.scheduler == "asha" and train.eval_every > rung:
        late = f"asha compares after epoch {rung}: train.eval_every={train.eval_every} has no accuracy by then"
        found[late] = [x.label for x in configurations]
    for x in configurations:
        for line in running.remarks(x.runs[:1], sets, sweep.command.plugins):
            found.setdefault(line, []).append(x.label)
    lines = []
    for line, labels in found.items():
        some = "; ".join(labels[:2]) + (f" and {len(labels) - 2} more" if len(labels) > 2 else "")
        lines.append(f"{line} [{some if len(labels) < len(configurations) else 'all configurations'}]")
    return lines


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
    say(console, *beforehand(sweep, [outcome(sweep, x) for x in configurations], wanted))
