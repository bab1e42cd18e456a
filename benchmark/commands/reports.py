"""``bench table``, ``bench plot``, ``bench schedules``, ``bench report`` and ``bench site``."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands import options
from benchmark.commands.options import Text, metric_names, one_of, option, path, say_notes, several_of, shown, switch
from benchmark.console import tell
from methods.errors import InputError, unknown

ENDINGS = {"tex": "latex", "htm": "html", "txt": "md"}
"""The formats of files whose ending is not the format's name."""


def table(
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    rows: Annotated[str, option("Keys of the rows: method, dataset, backbone, split, seed.")] = "method",
    columns: Annotated[
        Text, option("Keys of the columns (default: dataset,backbone), or metrics: student,best.")
    ] = None,
    value: Annotated[Text, option("Metrics (default: student): {metrics}.", None, several_of(metric_names))] = None,
    baseline: options.Baseline = None,
    resolve: Annotated[
        float | None, option("The difference that matters, as 0.5: how many seeds would tell it.")
    ] = None,
    suite: options.SuiteName = None,
    where: options.Where = None,
    split: options.Split = None,
    environment: Annotated[Text, option("Runs of one environment: a part of its hardware or versions.")] = None,
    hide: options.Hide = None,
    label: options.Label = None,
    layout_file: options.Layout = None,
    digits: Annotated[int | None, option("Decimal places of accuracies (default: 2).")] = None,
    n: Annotated[bool | None, option("Show the number of seeds.")] = None,
    p: Annotated[bool | None, option("Show the p values of gains.")] = None,
    interval: Annotated[bool | None, option("Show their intervals.")] = None,
    gains: Annotated[Text, option("Show gains in columns, in the cell or in rows.")] = None,
    rank: Annotated[bool | None, option("A column with the average rank.")] = None,
    aggregates: Annotated[bool | None, option("Columns with the gains over all columns.")] = None,
    form: Annotated[
        Text, option("md, latex, csv, html or json (default: as --out ends).", None, None, "--format")
    ] = None,
    out: Annotated[Path | None, path("FILE", "Write it to a file instead of printing it.")] = None,
    published: Annotated[bool, switch("--published", "Compare with published numbers, with sources.")] = False,
) -> None:
    """Print the table of all stored runs: mean ± standard deviation over seeds, best bold, second underlined."""
    from benchmark import store, tables
    from benchmark.metrics import of_frame
    from benchmark.tables import footnotes, layout, located, published as of_others, rendering, style as layouts

    ending = out.suffix.removeprefix(".") if out else ""
    form = rendering.check_format(form or ENDINGS.get(ending, ending) or "md")
    if resolve is not None:
        tables.check_bound("resolve", resolve)
    down = layout.check_names("rows", layout.split_words(rows), layout.KEYS)
    if published:
        # without any runs the published numbers alone are shown
        there = results != options.RESULTS or results[0].is_dir()
        frame = store.load(results, "last", prefer=prefer, split="all") if there else None
        say_notes(frame.attrs[store.DAMAGED].values() if frame is not None else ())
        content = of_others.typed_comparison(of_others.compare(frame))
        _put(rendering.TEXT_FORMATS[form](content), out)
        return
    said: dict[str, Any] = {"suite": suite, "where": where, "split": split, "hide": hide, "baseline": baseline}
    said |= {"digits": digits, "n": n, "p": p, "interval": interval, "gains": gains, "rank": rank}
    wanted = layouts.read(layout_file, said | {"aggregates": aggregates})
    showing = wanted.style(label or ())
    frame = store.load(results, "last", prefer=prefer, split="all")
    frame = frame if environment is None else tables.in_environment(frame, environment)
    say_notes(frame.attrs[store.DAMAGED].values())
    metrics = of_frame(frame)
    valid = (*layout.KEYS, *metrics)
    named = [] if columns is None else layout.check_names("columns", layout.split_words(columns), valid)
    keys = [name for name in named if name in layout.KEYS]
    scores = [name for name in named if name in metrics]
    if value is not None:
        scores = list(dict.fromkeys([*layout.check_names("value", layout.split_words(value), metrics), *scores]))
    across = keys or [key for key in layout.COLUMNS if key not in down] or ["split"]
    if frame.empty:
        raise InputError(f"no runs in {shown(results)} yet: bench run makes some")
    folders = store.folders(results)
    frame, left_out = wanted.runs(located(frame, folders), "split" in (*down, *across))
    if not scores and wanted.value:
        scores = layout.check_names("value", wanted.value, metrics)
    plans = tables.stored_plans(folders)
    made = tables.build(frame, scores or None, down, across, wanted.baseline, resolve, wanted, showing, plans=plans)
    _put(rendering.rendered(made, form), out)
    for line in [*(f"note: {line}" for line in left_out), *footnotes(frame)]:
        # another program may read the other formats
        tell(*([""] if form == "md" else []), line, error=form != "md")


def _put(content: str, out: Path | None) -> None:
    """Print a table, or write it to a file."""
    if out is None:
        tell(*content.split("\n"))
    else:
        from benchmark.store import put

        put(out, f"{content}\n")


WAIT = 3.0  # seconds between two looks at the runs that a page is written of
KINDS = ("curves", "homogeneity", "cost", "ranks", "critical-difference", "confusion", "agreement")
OF_PREDICTIONS = ("confusion", "agreement")
USUAL_COST = "training-multiply-adds"
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
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    out: Annotated[Path | None, path("FILE", "Ends in .svg, .pdf or .png (default: KIND.svg).")] = None,
    value: Annotated[
        Text,
        option(
            "curves: {curves}; cost and ranks: {metrics}. Default: student. agreement: agreement or errors.",
            complete=one_of(value_names),
        ),
    ] = None,
    run: Annotated[
        options.Words,
        option("confusion, agreement: only this run; of several the agreement between them.", "RUN", options.run_names),
    ] = None,
    predictor: Annotated[Text, option("Of whom, with confusion, and agreement between runs.", "NAME")] = None,
    against: Annotated[str, option("cost: which one, such as seconds.", None, one_of(cost_names))] = USUAL_COST,
    suite: options.SuiteName = None,
    where: options.Where = None,
    split: options.Split = None,
    hide: options.Hide = None,
    label: options.Label = None,
    layout_file: options.Layout = None,
    look: Annotated[str, option("screen, or paper: small fonts, thin lines.", None, None, "--style")] = "screen",
    width: Annotated[Text, option("Width of the figure: 3.25in, 84mm, 240pt.", "LENGTH")] = None,
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
    view = style.View(wanted, wanted.style(label or ()), look, total)
    file = style.check_path(out or Path(f"{kind}.svg"))
    # only curves need more than the last epochs, and of the finished runs alone
    needs_curves = kind in ("curves", "homogeneity")
    finished = {"status": str(store.Status.FINISHED)} if needs_curves else None
    frame = store.load(results, "all" if needs_curves else "last", finished, prefer, "all")
    say_notes(frame.attrs[store.DAMAGED].values())
    if frame.empty:
        raise InputError(f"no runs in {shown(results)} yet: bench run makes some")
    if runs:
        frame = frame[frame["run"].isin([store.find(results, word, prefer).name for word in runs])]
    frame, left_out = view.choice.runs(frame)
    places = store.folders(results)
    left_out = [*left_out, *view.choice.plans_of(set(frame["run"]), stored_plans(places))]
    chosen = value or "student"
    if kind in OF_PREDICTIONS:
        folders, without = prediction_figures.folders_with_predictions(frame, places)
        left_out = [*left_out, *without]
        if kind == "confusion":
            figure = prediction_figures.confusion(frame, folders, predictor, view)
        elif len(runs) > 1:
            figure = prediction_figures.agreement_of_runs(frame, folders, value or kind, predictor, view)
        else:
            figure = prediction_figures.agreement(frame, folders, value or kind, view)
    elif kind == "homogeneity":
        figure = figures.homogeneity(frame, view)
    elif kind == "cost":
        figure = figures.cost(frame, against, chosen, view)
    else:
        figure = getattr(figures, kind.replace("-", "_"))(frame, chosen, view)
    tell(style.save(figure, file, view))
    say_notes(left_out)


def schedules(
    method: Annotated[str, option("The method whose ramps and decays are plotted.")],
    config: options.Config = None,
    set_: options.Set = None,
    epochs: Annotated[int | None, option("Length of the run (default: that of --config, or 300).")] = None,
    out: Annotated[Path, path("DIR", "Folder of figure and table.")] = Path("results/schedules"),
    plugin: options.Plugins = None,
) -> None:
    """Plot every ramp and decay of a configuration over the epochs, and list inactive loss terms."""
    from benchmark.configuration import layer_from_assignments
    from benchmark.reports import schedules as method_schedules
    from benchmark.tables import frame_markdown
    from methods import registry

    plugins = tuple(plugin or ())
    broken = registry.broken_files(plugins)
    flags: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    layers = [*options.file_layers(config, plugins), layer_from_assignments(set_ or ()) | flags]
    found = method_schedules.resolve(method, layers, plugins)
    tell(*frame_markdown(found.summary(), index=False, disable_numparse=True).split("\n"))
    tell(*(f"note: {method}: {line}" for line in found.remarks))
    tell(*method_schedules.write(found, out))
    say_notes(broken)


def report(
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    out: Annotated[Path, path("FILE", "The page to write.")] = Path("report.html"),
    baseline: options.Baseline = None,
    suite: options.SuiteName = None,
    where: options.Where = None,
    split: options.Split = None,
    hide: options.Hide = None,
    label: options.Label = None,
    layout_file: options.Layout = None,
    watch: Annotated[bool, switch("--watch", "Write the page again while runs are training, until Ctrl-C.")] = False,
) -> None:
    """Write all stored runs as one HTML page that needs no network."""
    from benchmark.reports import Content, page
    from benchmark.store import folders
    from benchmark.tables import style as layouts

    said = {"suite": suite, "where": where, "split": split, "hide": hide, "baseline": baseline}
    wanted = layouts.read(layout_file, said)
    showing = wanted.style(label or ())
    while True:
        state = page.state(results)
        content = Content.read(results, prefer, wanted, showing)
        if not content.runs and not watch:
            raise InputError(f"no runs in {shown(folders(results))} yet: bench run makes some")
        size = page.write(content, out, wanted.baseline, watch)
        say_notes(content.damaged)
        tell(f"{out}: {len(content.runs)} runs, {size / 2**20:.2f} MiB", flush=True)
        while watch and page.state(results) == state:
            time.sleep(WAIT)
        if not watch:
            return


def site(
    results: options.ManyResults = options.RESULTS,
    prefer: options.Prefer = None,
    out: Annotated[Path, path("DIR", "The folder to write.")] = Path("site"),
    submissions: Annotated[Path | None, path("DIR", "With one folder per submission (default: submissions).")] = None,
    baseline: options.Baseline = None,
    resolve: Annotated[float, option("Points within which a submission is reproduced.", "DIFFERENCE")] = 0.5,
    suite: options.SuiteName = None,
    plugin: options.Plugins = None,
) -> None:
    """Write a static site: leaderboards, one page per method and one per set of runs."""
    from benchmark import site as pages, tables
    from benchmark.tables import style as layouts

    tables.check_bound("resolve", resolve)
    choice = layouts.read(None, {"suite": suite})
    if submissions is not None and not submissions.is_dir():
        raise InputError(f"no such folder of submissions: {submissions}")
    usual = Path("submissions")
    given = submissions or (usual if usual.is_dir() else None)
    built = pages.build(results, out, given, baseline, resolve, choice, tuple(plugin or ()), prefer)
    say_notes(built.notes)
    tell(
        f"{out / 'index.html'}: {built.boards} leaderboards, {built.methods} methods, {built.run_sets} run sets of "
        f"{built.runs} runs, {built.size / 1e6:.2f} MB"
    )
