"""``bench table``, ``bench plot``, ``bench schedules``, ``bench report`` and ``bench site``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import Selection, Text, of_kind, option, path, say_notes, switch
from benchmark.console import tell
from methods.errors import InputError, unknown

ENDINGS = {"tex": "latex", "htm": "html", "txt": "md"}
"""The formats of files whose ending is not the format's name."""


@options.with_groups
def table(
    selection: Selection,
    rows: Annotated[str, option("What a row is: method, or method,seed.")] = "method",
    columns: Annotated[Text, option("Metrics, as --value has them: student,best.")] = None,
    value: Annotated[Text, option("Metrics (default: student): {metrics}.", None, of_kind("metrics", True))] = None,
    baseline: options.Baseline = None,
    resolve: Annotated[
        float | None, option("The difference that matters, as 0.5: how many seeds would tell it.")
    ] = None,
    environment: Annotated[Text, option("Runs of one environment: a part of its hardware or versions.")] = None,
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
    from benchmark.tables import footnotes, layout, located, published as of_others, rendering

    ending = out.suffix.removeprefix(".") if out else ""
    form = rendering.check_format(form or ENDINGS.get(ending, ending) or "md")
    if resolve is not None:
        tables.check_bound("resolve", resolve)
    (row,) = layout.check_names("rows", [rows.replace(" ", "")], layout.ROWS)
    if published:
        # without any runs the published numbers alone are shown
        there = selection.results != options.RESULTS or options.RESULTS[0].is_dir()
        compared = of_others.compare(selection.load(needed=False) if there else None)
        _put(rendering.TEXT_FORMATS[form](of_others.typed_comparison(compared)), out)
        return
    look = {"digits": digits, "n": n, "p": p, "interval": interval, "gains": gains, "rank": rank}
    wanted = selection.layout(baseline=baseline, aggregates=aggregates, **look)
    frame = selection.load()
    frame = frame if environment is None else tables.in_environment(frame, environment)
    metrics = of_frame(frame)
    named = {"value": value, "columns": columns}
    asked = {key: text for key, text in named.items() if text is not None}
    scores = [name for key, text in asked.items() for name in layout.check_names(key, text, metrics)]
    if not scores and wanted.value:
        scores = layout.check_names("value", wanted.value, metrics)
    folders, by_seed = store.folders(selection.results), row != "method"
    frame, left_out = wanted.runs(located(frame, folders))
    plans = tables.stored_plans(folders)
    made = tables.build(frame, scores or None, by_seed, wanted.baseline, resolve, wanted, wanted, plans=plans)
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
OF_PREDICTIONS = ("confusion", "agreement")
KINDS = ("curves", "homogeneity", "cost", "ranks", "critical-difference", *OF_PREDICTIONS)
NO_VALUE = {"homogeneity": "every measure of the peers"} | dict.fromkeys(OF_PREDICTIONS, "images in %")


@options.with_groups
def plot(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(KINDS)}.", metavar="KIND")],
    selection: Selection,
    out: Annotated[Path | None, path("FILE", "Ends in .svg, .pdf or .png (default: KIND.svg).")] = None,
    value: Annotated[
        Text,
        option(
            "curves: {curves}; cost and ranks: {metrics}. Default: student.",
            complete=of_kind("values"),
        ),
    ] = None,
    run: Annotated[
        options.Words,
        option("confusion, agreement: only this run; may be repeated.", "RUN", options.run_names),
    ] = options.NONE,
    predictor: Annotated[Text, option("Of whom, with confusion.", "NAME")] = None,
    against: Annotated[
        str, option("cost: which one, such as seconds.", None, of_kind("costs"))
    ] = "training-multiply-adds",
    look: Annotated[str, option("screen, or paper: small fonts, thin lines.", None, None, "--style")] = "screen",
    width: Annotated[Text, option("Width of the figure: 3.25in, 84mm, 240pt.", "LENGTH")] = None,
) -> None:
    """Plot the stored runs, means over seeds with their spread."""
    if kind not in KINDS:
        raise unknown("figure", kind, KINDS)
    if value is not None and kind in NO_VALUE:
        raise InputError(f"{kind} has no --value: it shows {NO_VALUE[kind]}")
    if run and kind not in OF_PREDICTIONS:
        raise InputError(f"--run goes with bench plot {' and '.join(OF_PREDICTIONS)}; others take --where")
    if predictor is not None and kind != "confusion":
        raise InputError("--predictor goes with bench plot confusion")
    from benchmark import store
    from benchmark.reports import figures, prediction_figures, style
    from benchmark.tables import stored_plans

    wanted = selection.layout()
    total = None if width is None else style.inches(width)
    view = style.View(wanted, wanted, look, total)
    file = style.check_path(out or Path(f"{kind}.svg"))
    # only curves need more than the last epochs, and of the finished runs alone
    over_epochs = kind in ("curves", "homogeneity")
    frame = selection.load("all", {"status": "finished"}) if over_epochs else selection.load()
    if run:
        frame = frame[frame["run"].isin([store.find(selection.results, one, selection.prefer).name for one in run])]
    frame, notes = view.choice.runs(frame)
    places = store.folders(selection.results)
    notes = [*notes, *view.choice.plans_of(set(frame["run"]), stored_plans(places))]
    chosen = value or "student"
    if kind in OF_PREDICTIONS:
        folders, without = prediction_figures.folders_with_predictions(frame, places)
        notes = [*notes, *without]
        if kind == "confusion":
            figure = prediction_figures.confusion(frame, folders, predictor, view)
        else:
            figure = prediction_figures.agreement(frame, folders, view)
    elif kind == "homogeneity":
        figure = figures.homogeneity(frame, view)
    elif kind == "cost":
        figure = figures.cost(frame, against, chosen, view)
    else:
        figure = getattr(figures, kind.replace("-", "_"))(frame, chosen, view)
    tell(style.save(figure, file, view))
    say_notes(notes)


def schedules(
    method: Annotated[str, option("The method whose ramps and decays are plotted.")],
    config: options.Config = None,
    set_: options.Set = options.NONE,
    epochs: Annotated[int | None, option("Length of the run (default: that of --config, or 300).")] = None,
    out: Annotated[Path, path("DIR", "Folder of figure and table.")] = Path("results/schedules"),
    plugin: options.Plugins = options.NONE,
) -> None:
    """Plot every ramp and decay of a configuration over the epochs, and list inactive loss terms."""
    from benchmark.reports import schedules as method_schedules
    from benchmark.tables import frame_markdown
    from methods import registry

    broken = registry.broken_files(plugin)
    layers = options.layers(config, set_, {} if epochs is None else {"epochs": epochs}, plugin)
    found = method_schedules.resolve(method, layers, plugin)
    tell(*frame_markdown(found.summary(), index=False, disable_numparse=True).split("\n"))
    tell(*(f"note: {method}: {line}" for line in found.remarks))
    tell(*method_schedules.write(found, out))
    say_notes(broken)


@options.with_groups
def report(
    selection: Selection,
    out: Annotated[Path, path("FILE", "The page to write.")] = Path("report.html"),
    baseline: options.Baseline = None,
    watch: Annotated[bool, switch("--watch", "Write the page again while runs are training, until Ctrl-C.")] = False,
) -> None:
    """Write all stored runs as one HTML page that needs no network."""
    from benchmark.reports import Content, page
    from benchmark.store import folders

    results, wanted = selection.results, selection.layout(baseline=baseline)
    while True:
        state = page.state(results)
        content = Content.read(results, selection.prefer, wanted, wanted)
        if not content.runs and not watch:
            raise options.no_runs(folders(results))
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
    plugin: options.Plugins = options.NONE,
) -> None:
    """Write a static site: leaderboards, one page per method and one per set of runs."""
    from benchmark import site as pages, tables

    tables.check_bound("resolve", resolve)
    choice = Selection(suite=suite).layout()
    if submissions is not None and not submissions.is_dir():
        raise InputError(f"no such folder of submissions: {submissions}")
    usual = Path("submissions")
    given = submissions or (usual if usual.is_dir() else None)
    built = pages.build(results, out, given, baseline, resolve, choice, plugin, prefer)
    say_notes(built.notes)
    tell(
        f"{out / 'index.html'}: {built.boards} leaderboards, {built.methods} methods, {built.run_sets} run sets of "
        f"{built.runs} runs, {built.size / 1e6:.2f} MB"
    )
