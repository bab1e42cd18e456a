"""``bench plot`` and ``bench schedules``."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands.options import (
    Config,
    Hide,
    Label,
    Layout,
    ManyResults,
    Plugins,
    Prefer,
    Set,
    Split,
    SuiteName,
    Where,
    as_path,
    metric_names,
    one_of,
    places,
    run_names,
    say_notes,
    shown,
)
from benchmark.console import tell
from methods.errors import InputError, unknown

if TYPE_CHECKING:
    import pandas as pd


def schedules(
    method: Annotated[str, typer.Option(help="The method whose ramps and decays are plotted.")],
    config: Config = None,
    set_: Set = None,
    epochs: Annotated[int | None, typer.Option(help="Length of the run (default: that of --config, or 300).")] = None,
    out: Annotated[Path, typer.Option(parser=as_path, help="Folder of figure and table.", metavar="DIR")] = Path(
        "results/schedules"
    ),
    plugin: Plugins = None,
) -> None:
    """Plot every ramp and decay of a configuration over the epochs, and list inactive loss terms."""
    from benchmark.configuration import layer_from_assignments, layer_from_file
    from benchmark.reports import schedules as method_schedules
    from benchmark.tables import frame_markdown
    from methods import registry

    plugins = tuple(plugin or ())
    broken = registry.broken_files(plugins)
    file_layer = [layer_from_file(config, plugins)] if config is not None else []
    flags: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    found = method_schedules.resolve(method, [*file_layer, layer_from_assignments(set_ or ()) | flags], plugins)
    tell(*frame_markdown(found.summary(), index=False, disable_numparse=True).split("\n"))
    for line in found.remarks:
        tell(f"note: {method}: {line}")
    for path in method_schedules.write(found, out):
        tell(path)
    say_notes(broken)


KINDS = ("curves", "homogeneity", "cost", "ranks", "critical-difference", "confusion", "agreement")
OF_PREDICTIONS = ("confusion", "agreement")
NO_VALUE = {"homogeneity": "every measure of the peers", "confusion": "the images of each class in %"}


def value_names() -> Iterable[str]:
    """Return the curves and the metrics."""
    from benchmark.metrics import figure_labels

    return [*figure_labels("curves"), *metric_names()]


def cost_names() -> Iterable[str]:
    """Return the metrics of what a run takes."""
    from benchmark.metrics import COSTS

    return COSTS


def plot(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS)}.", metavar="KIND")],
    results: ManyResults = None,
    prefer: Prefer = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=as_path, help="Ends in .svg, .pdf or .png (default: KIND.svg).", metavar="FILE"),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            help="curves: {curves}; cost, ranks and critical-difference: {metrics}. Default: student. "
            "agreement: agreement or errors.",
            autocompletion=one_of(value_names),
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            help="confusion, agreement: only this run; given several times, the agreement between these runs.",
            metavar="RUN",
            autocompletion=run_names,
        ),
    ] = None,
    predictor: Annotated[
        str | None,
        typer.Option(
            help="confusion, agreement between runs: which predictor (default: the students' mean; the first student).",
            metavar="NAME",
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(help="cost: which one, such as seconds or memory.", autocompletion=one_of(cost_names)),
    ] = "training-multiply-adds",
    suite: SuiteName = None,
    where: Where = None,
    split: Split = None,
    hide: Hide = None,
    label: Label = None,
    layout_file: Layout = None,
    look: Annotated[
        str, typer.Option("--style", help="screen, or paper: small fonts, thin lines, fonts embedded in the file.")
    ] = "screen",
    width: Annotated[
        str | None, typer.Option(help="Width of the figure: 3.25in, 84mm, 240pt.", metavar="LENGTH")
    ] = None,
) -> None:
    """Plot the stored runs, means over seeds with their spread."""
    if kind not in KINDS:
        raise unknown("figure", kind, KINDS)
    runs = run or []
    if value is not None and kind in NO_VALUE:
        raise InputError(f"{kind} has no --value: it shows {NO_VALUE[kind]}")
    if runs and kind not in OF_PREDICTIONS:
        raise InputError(f"--run goes with bench plot {' and '.join(OF_PREDICTIONS)}; others take --where")
    if predictor is not None and kind != "confusion" and (kind != "agreement" or len(runs) < 2):
        raise InputError("--predictor goes with bench plot confusion, and with agreement of two or more --run")
    from benchmark import store
    from benchmark.reports import figures, prediction_figures, style
    from benchmark.tables import stored_plans, style as layouts

    wanted = layouts.read(layout_file, {"suite": suite, "where": where, "split": split, "hide": hide})
    total = None if width is None else style.inches(width)
    view = style.View(wanted.filter(), wanted.style(label or ()), look, total)
    path = style.check_path(out or Path(f"{kind}.svg"))
    # only curves need more than the last epochs, and of the finished runs alone
    needs_curves = kind in ("curves", "homogeneity")
    finished = {"status": str(store.Status.FINISHED)} if needs_curves else None
    frame = store.load(places(results), "all" if needs_curves else "last", finished, prefer, "all")
    say_notes(frame.attrs[store.DAMAGED].values())
    if frame.empty:
        raise InputError(f"no runs in {shown(results)} yet: bench run makes some")
    frame, left_out = view.choice.runs(_only(frame, runs, results, prefer))
    left_out = [*left_out, *view.choice.plans_of(set(frame["run"]), stored_plans(store.folders(places(results))))]
    if kind in OF_PREDICTIONS:
        folders, without = prediction_figures.folders_with_predictions(frame, store.folders(places(results)))
        left_out = [*left_out, *without]
    chosen = value or "student"
    if kind == "confusion":
        figure = prediction_figures.confusion(frame, folders, predictor, view)
    elif kind == "agreement" and len(runs) > 1:
        figure = prediction_figures.agreement_of_runs(frame, folders, value or kind, predictor, view)
    elif kind == "agreement":
        figure = prediction_figures.agreement(frame, folders, value or kind, view)
    elif kind == "homogeneity":
        figure = figures.homogeneity(frame, view)
    elif kind == "cost":
        figure = figures.cost(frame, against, chosen, view)
    else:
        shapes = {"curves": figures.curves, "ranks": figures.ranks, "critical-difference": figures.critical_difference}
        figure = shapes[kind](frame, chosen, view)
    tell(style.save(figure, path, view))
    for line in left_out:
        tell(f"note: {line}", error=True)


def _only(
    frame: "pd.DataFrame", runs: Sequence[str], results: list[Path] | None, prefer: Path | None
) -> "pd.DataFrame":
    """Return the rows of the runs that a person names, all of them if none is named."""
    from benchmark.store import find

    if not runs:
        return frame
    return frame[frame["run"].isin([find(places(results), word, prefer).name for word in runs])]
