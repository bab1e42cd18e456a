"""What ``bench sweep`` does: choose configurations, carry out what is missing, report."""

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

import methods
from benchmark import optional_imports, running
from benchmark.configuration import TRIALS
from benchmark.console import say
from benchmark.datasets import Dataset
from benchmark.errors import TryAgainError
from benchmark.formatting import shown
from benchmark.reports import places
from benchmark.scheduling import set_environment
from benchmark.store import check_folder, put
from benchmark.sweeps.answer import Spread, answer, comparisons, detectable, expected_spread
from benchmark.sweeps.outcomes import Outcome, complete, importances, outcome, ranked
from benchmark.sweeps.plan import Configuration, Sweep, first_rung
from benchmark.sweeps.space import Assignment
from benchmark.tables import frame_csv, frame_markdown, paired_gain
from methods.errors import InputError
from methods.schedules import inactive_terms

RECORD = "trials.json"
MAX_ROWS = 40
BEST = "best.yaml"
NONE = "–"  # noqa: RUF001 - a dash in a table


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


def new_configurations(sweep: Sweep, configurations: Sequence[Configuration]) -> int:
    """Return how many configurations are still to be chosen."""
    return max(0, (sweep.trials or TRIALS) - len(configurations)) if sweep.search == "optuna" else 0


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
    configurations = todo = known(sweep)
    if best is not None:
        todo = [x.configuration for x in ranked([outcome(sweep, x) for x in configurations])[:best] if x.n]
        if not todo:
            raise InputError("--best needs configurations that have finished: carry out the sweep without it first")
    missing = [run for x in todo for run in x.runs if not complete(sweep, run)]
    wanted = new_configurations(sweep, configurations) if best is None else 0
    counts = f"{len(todo)} configuration{'s' if len(todo) != 1 else ''}, {sum(len(x.runs) for x in todo)} runs"
    running_out = f", and {wanted} configurations to be chosen" if wanted else ""
    say(console, f"{sweep.name}: {counts}, {len(missing)} new runs{running_out}")
    spread = _say_what_is_detectable(sweep, configurations, wanted, console)
    later = ""
    if missing or wanted:
        running.check_writable(sweep.command.store)
        check_folder(sweep.folder)
        images = running.load_sets(sweep.command, [sweep.base])
        say(console, *(f"note: {line}" for line in notes(sweep, todo, images)))
        if sweep.search == "optuna" or sweep.scheduler == "asha":
            set_environment(sweep.command.cluster)
            from benchmark.sweeps import search

            chosen = [outcome(sweep, x) for x in todo]
            later = search.carry_out(sweep, chosen, wanted, partial(record, sweep), images, console)
        else:
            command = sweep.command.of(missing)
            later = running.why_later(running.train(command, missing, images, console, sweep.label))
        configurations = known(sweep)
    write_report(sweep, [outcome(sweep, x) for x in configurations], spread, console)
    if best is None:
        todo, wanted = configurations, new_configurations(sweep, configurations)
    done = all(complete(sweep, run) for x in todo for run in x.runs)
    if later and (wanted or not done):
        raise TryAgainError(f"{later}: the sweep is not finished")
    return done


def _say_what_is_detectable(
    sweep: Sweep, configurations: Sequence[Configuration], wanted: int, console: Console
) -> Spread:
    if sweep.left_out:
        say(console, sweep.left_out)
    spread = expected_spread(sweep)
    say(console, detectable(sweep, max(1, comparisons(sweep, configurations) + wanted), spread))
    return spread


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
    _say_what_is_detectable(sweep, configurations, wanted, console)


# the report


def write_report(sweep: Sweep, outcomes: Sequence[Outcome], spread: Spread, console: Console) -> None:
    """Write tables, best configuration, importance, figures and page into the sweep's folder; print the page."""
    # matplotlib may be missing: sweeping names it before anything is trained
    from benchmark.reports import markdown_templates, write_figures
    from benchmark.sweeps.figures import figures

    folder, order = sweep.folder, ranked(outcomes)
    numbers, words = configuration_tables(sweep, order)
    found = importances(sweep, outcomes)
    files = {"configurations": numbers, "runs": runs_table(sweep, outcomes)}
    for ending in ("csv", "svg", "png"):
        # of an earlier report, which more seeds may have refuted
        (folder / f"importance.{ending}").unlink(missing_ok=True)
    if found.shares:
        rows = [(key, x.value, x.low, x.high, found.how) for key, x in found.shares.items()]
        files["importance"] = pd.DataFrame(rows, columns=["key", "importance", "low", "high", "how"])
    for name, frame in files.items():
        put(folder / f"{name}.csv", frame_csv(frame, "%.10g"))
    best = order[0] if order and order[0].n else None
    if best is not None:
        put(folder / BEST, best_yaml(sweep, best, len(order)))
    made = figures(sweep, outcomes, found)
    write_figures(folder, made)
    options = places(sweep.command.plugins, sweep.command.store.root, None)
    facts = {
        "answer": answer(sweep, outcomes, spread),
        "table": frame_markdown(words[:MAX_ROWS], index=False, disable_numparse=True),
        "left": len(order) - MAX_ROWS,
        "importance": found,
        "best": best,
        "command": shlex.join(["bench", "run", "--config", _path(folder / BEST), *options]),
        "figures": list(made),
    }
    page = markdown_templates("benchmark.sweeps").get_template("sweep.md.j2").render(sweep=sweep, **facts)
    put(folder / "README.md", page)
    say(console, "", *page.partition("\n![")[0].split("\n"), f"figures and tables: {_path(folder)}")


def _path(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def configuration_tables(sweep: Sweep, order: Sequence[Outcome]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per configuration, the best first: in numbers, and as the table that is printed."""
    numbers, words = [], []
    for rank, x in enumerate(order, start=1):
        gain = paired_gain(x.scores, order[0].scores) if rank > 1 else None
        mean, low, high = (gain.mean, gain.low, gain.high) if gain else (None, None, None)
        interval = f" [{low:+.2f}, {high:+.2f}]" if low is not None and high is not None else ""
        number, values = x.configuration.number, x.configuration.assignment
        terms = inactive_terms(x.schedules)
        listed = {key: str(value) if isinstance(value, list) else value for key, value in values.items()}
        numbers.append(
            {"rank": rank, "configuration": number}
            | {key: listed.get(key) for key in sweep.space.keys}
            | {"mean": x.mean, "std": x.std, "n": x.n}
            | {"difference_to_best": mean, "difference_to_best_low": low, "difference_to_best_high": high}
            | {"total_epochs": x.epochs, "status": x.status, "inactive_terms": " ".join(terms)}
        )
        words.append(
            {"#": number}
            | {key: shown(values.get(key, NONE)) for key in sweep.space.keys}
            | {
                "validation accuracy": _accuracy(x),
                "difference to best": "" if gain is None else f"{gain.mean:+.2f}{interval}",
            }
            | {"total epochs (all seeds)": x.epochs, "runs": x.status, "inactive loss terms": ", ".join(terms)}
        )
    table = pd.DataFrame(words)
    if not any(row["inactive_terms"] for row in numbers):
        table = table.drop(columns="inactive loss terms", errors="ignore")
    return pd.DataFrame(numbers), table


def runs_table(sweep: Sweep, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per run: configuration, seed, accuracy, status and folder."""
    rows = []
    for x in outcomes:
        values = {key: x.configuration.assignment.get(key) for key in sweep.space.keys}
        rows += [{"configuration": x.configuration.number, **values, **run} for run in x.runs]
    return pd.DataFrame(rows)


def _accuracy(x: Outcome) -> str:
    if not x.n:
        return f"({sum(x.last.values()) / len(x.last):.2f})" if x.last else NONE
    return f"{x.mean:.2f} ({x.n})" if x.n == 1 else f"{x.mean:.2f} ± {x.std:.2f} ({x.n})"


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
