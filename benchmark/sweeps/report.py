"""What a sweep writes: tables, best configuration, importance, figures and a page."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console

import methods
from benchmark.console import say
from benchmark.formatting import shown
from benchmark.reports import places
from benchmark.store import put
from benchmark.sweeps.answer import Spread, answer
from benchmark.sweeps.outcomes import Outcome, importances, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.tables import Gain, frame_csv, frame_markdown, paired_gain

MAX_ROWS = 40
BEST = "best.yaml"
NONE = "–"  # noqa: RUF001 - a dash in a table


def write_report(sweep: Sweep, outcomes: Sequence[Outcome], spread: Spread, console: Console) -> None:
    """Write table, best configuration, importance, figures and page into the sweep's folder; print answer and table.

    Args:
        spread: The standard deviation of paired differences that was expected.
    """
    # matplotlib may be missing: sweeping names it before anything is trained
    from benchmark.reports import markdown_templates, write_figures
    from benchmark.sweeps.figures import figures

    folder = sweep.folder
    order = ranked(outcomes)
    _write_csv(folder / "configurations.csv", configurations_table(sweep, order))
    _write_csv(folder / "runs.csv", runs_table(sweep, outcomes))
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
        rows = [(key, x.value, x.low, x.high, found.how) for key, x in found.shares.items()]
        _write_csv(folder / "importance.csv", pd.DataFrame(rows, columns=["key", "importance", "low", "high", "how"]))
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


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    table = table.map(lambda value: None if isinstance(value, float) and math.isnan(value) else value)
    put(path, frame_csv(table, "%.10g"))
