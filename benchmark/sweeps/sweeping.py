"""What ``bench sweep`` does: choose configurations, carry out what is missing, report."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

import methods
from benchmark import optional_imports, running
from benchmark.configuration import TRIALS, RunConfig
from benchmark.console import say
from benchmark.datasets import Dataset
from benchmark.errors import TryAgainError
from benchmark.formatting import shown
from benchmark.reports import places
from benchmark.scheduling import LoggingDisplay
from benchmark.store import Status, check_folder, put
from benchmark.sweeps.answer import Spread, answer, comparisons, detectable, expected_spread
from benchmark.sweeps.outcomes import Outcome, importances, outcome, ranked
from benchmark.sweeps.plan import Configuration, Sweep, first_rung
from benchmark.sweeps.space import Assignment, identity
from benchmark.tables import Gain, frame_csv, frame_markdown, paired_gain
from methods.errors import InputError

RECORD = "trials.json"
MAX_NOTES = 8
MAX_ROWS = 40
BEST = "best.yaml"
NONE = "–"  # noqa: RUF001 - a dash in a table


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
        content = {"definition": self.sweep.definition, "assignments": self.assignments}
        put(self.path, json.dumps(content, indent=1) + "\n")
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
    total = len(missing) + wanted * len(sweep.seeds)
    with LoggingDisplay(total, console, sweep.label, command.log, command.store) as display:
        images = sets[sweep.base.dataset]
        say_it = partial(say, console)
        return search.carry_out(
            sweep, searcher, len(waiting) + wanted, _complete_statuses(sweep), images, display, say_it
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


# the report


def write_report(sweep: Sweep, outcomes: Sequence[Outcome], spread: Spread, console: Console) -> None:
    """Write tables, best configuration, importance, figures and page into the sweep's folder; print the answer."""
    # matplotlib may be missing: sweeping names it before anything is trained
    from benchmark.reports import markdown_templates, write_figures
    from benchmark.sweeps.figures import figures

    folder = sweep.folder
    order = ranked(outcomes)
    put(folder / "configurations.csv", frame_csv(configurations_table(sweep, order), "%.10g"))
    put(folder / "runs.csv", frame_csv(runs_table(sweep, outcomes), "%.10g"))
    table = markdown_table(sweep, order[:MAX_ROWS])
    first, found = answer(sweep, outcomes, spread), importances(sweep, outcomes)
    say(console, "", first, "", *table.split("\n"), "")
    if len(order) > MAX_ROWS:
        say(console, f"(the best {MAX_ROWS} of {len(order)}; all of them: {folder / 'configurations.csv'})")
    explained = (
        f"accuracy in % of the students after the last epoch on {sweep.base.data.holdout:.0%} of the training images, "
        "which were held out; mean ± standard deviation (seeds), in brackets alone: of runs that did not finish; "
        "differences are paired, with uncorrected 95 % intervals where there are three seeds: the first line "
        "corrects for their number"
    )
    say(console, explained, found.line)
    if found.shares:
        columns = ["key", "importance", "low", "high", "how"]
        rows = [(key, x.value, x.low, x.high, found.how) for key, x in found.shares.items()]
        put(folder / "importance.csv", frame_csv(pd.DataFrame(rows, columns=columns), "%.10g"))
    else:
        # of an earlier report, which more seeds may have refuted
        for ending in ("csv", "svg", "png"):
            (folder / f"importance.{ending}").unlink(missing_ok=True)
    options = places(sweep.command.plugins, sweep.command.store.root, None)
    command = shlex.join(["bench", "run", "--config", _path(folder / BEST), *options])
    best = order[0] if order and order[0].n else None
    if best is None:
        say(console, "no configuration has finished: there is no best one yet")
    else:
        put(folder / BEST, best_yaml(sweep, best, len(order)))
        say(console, f"best: {best.configuration.label}; on the test set: {command}")
    made = figures(sweep, outcomes, found)
    write_figures(folder, made)
    page = markdown_templates("benchmark.sweeps").get_template("sweep.md.j2")
    facts = {"answer": first, "table": table, "explained": explained, "best": best, "command": command}
    put(folder / "README.md", page.render(sweep=sweep, importance=found.line, figures=list(made), **facts))
    say(console, f"figures and tables: {_path(folder)}")


def _path(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _gains(order: Sequence[Outcome]) -> list[Gain | None]:
    best = order[0] if order else None
    return [None if best is None or x is best else paired_gain(x.scores, best.scores) for x in order]


def configurations_table(sweep: Sweep, order: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per configuration, the best first, in numbers."""
    rows = []
    for rank, (x, gain) in enumerate(zip(order, _gains(order), strict=True), start=1):
        values = {key: x.configuration.assignment.get(key) for key in sweep.space.keys}
        rows.append(
            {"rank": rank, "configuration": x.configuration.number}
            | {key: str(value) if isinstance(value, list) else value for key, value in values.items()}
            | {
                "mean": x.mean,
                "std": x.std,
                "n": x.n,
                "difference_to_best": gain.mean if gain else None,
                "difference_to_best_low": gain.low if gain else None,
                "difference_to_best_high": gain.high if gain else None,
                "total_epochs": x.epochs,
                "status": x.status,
                "inactive_terms": " ".join(x.inactive_terms),
            }
        )
    return pd.DataFrame(rows)


def runs_table(sweep: Sweep, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per run: configuration, seed, accuracy, status and folder."""
    store = sweep.command.store
    rows = []
    for x in outcomes:
        for run in x.configuration.runs:
            result = store.result(run)
            rows.append(
                {
                    "configuration": x.configuration.number,
                    **{key: x.configuration.assignment.get(key) for key in sweep.space.keys},
                    "seed": run.seed,
                    "accuracy": x.scores.get(run.seed, x.last.get(run.seed)),
                    "status": str(result.status) if result else "",
                    "reason": result.reason if result else "",
                    "run": store.folder(run).name,
                }
            )
    return pd.DataFrame(rows)


def markdown_table(sweep: Sweep, order: Sequence[Outcome]) -> str:
    """Return the table that is printed."""
    some_inactive = any(x.inactive_terms for x in order)
    rows = []
    for x, gain in zip(order, _gains(order), strict=True):
        values = [x.configuration.assignment.get(key, NONE) for key in sweep.space.keys]
        rows.append(
            [x.configuration.number, *map(shown, values), _accuracy(x), _shown_gain(gain), x.epochs, x.status]
            + ([", ".join(x.inactive_terms)] if some_inactive else [])
        )
    headings = ["#", *sweep.space.keys, "validation accuracy", "difference to best", "total epochs (all seeds)", "runs"]
    table = pd.DataFrame(rows, columns=[*headings, *(["inactive loss terms"] if some_inactive else [])])
    return frame_markdown(table, index=False, disable_numparse=True)


def _accuracy(x: Outcome) -> str:
    if not x.n:
        return f"({sum(x.last.values()) / len(x.last):.2f})" if x.last else NONE
    return f"{x.mean:.2f} ({x.n})" if x.n == 1 else f"{x.mean:.2f} ± {x.std:.2f} ({x.n})"


def _shown_gain(gain: Gain | None) -> str:
    if gain is None:
        return ""
    if gain.low is None or gain.high is None:
        return f"{gain.mean:+.2f}"
    return f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"


def best_yaml(sweep: Sweep, best: Outcome, tried: int) -> str:
    """Return the best configuration as a file for ``bench run --config``, which scores it on the test set."""
    run = best.configuration.runs[0]
    content: dict[str, Any] = {
        "description": (
            f"Best of {tried} configurations of the sweep {sweep.name} ({best.configuration.label}): "
            f"{_accuracy(best)} % on held-out training images"
        ),
        "methods": [run.method],
        "dataset": [run.dataset] if "," in run.dataset else run.dataset,
        "backbone": run.backbone,
        "seeds": [seeded.seed for seeded in best.configuration.runs],
        "train": run.train.model_dump(mode="json"),
        "data": {**run.data.model_dump(mode="json"), "holdout": 0.0},
        run.method: methods.restored(run.method, run.hyperparameters, sweep.command.plugins),
    }
    if sweep.command.data_root != Path("data"):
        content["data_root"] = str(sweep.command.data_root)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
