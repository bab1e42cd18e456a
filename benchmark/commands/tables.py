"""``bench table``."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.options import (
    Baseline,
    Hide,
    Label,
    Layout,
    ManyResults,
    Prefer,
    Split,
    SuiteName,
    Text,
    Where,
    as_path,
    metric_names,
    places,
    say_notes,
    several_of,
    shown,
)
from benchmark.console import tell
from benchmark.errors import OutputError
from methods.errors import InputError

ENDINGS = {"tex": "latex", "htm": "html", "txt": "md"}
"""The formats of files whose ending is not the format's name."""


def table(
    results: ManyResults = None,
    prefer: Prefer = None,
    rows: Annotated[str, typer.Option(help="Keys of the rows: method, dataset, backbone, split, seed.")] = "method",
    columns: Annotated[
        str | None,
        typer.Option(
            help="Keys of the columns (default: dataset,backbone); metrics, see --value, add one column each: "
            "--columns student,best,ensemble.",
        ),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            help="Metrics, with commas (default: student): {metrics}.", autocompletion=several_of(metric_names)
        ),
    ] = None,
    baseline: Baseline = None,
    resolve: Annotated[
        float | None,
        typer.Option(
            help="With --baseline: the difference that matters, such as 0.5; adds how many seeds would call a method "
            "equivalent within it, and how many would show it.",
            metavar="DIFFERENCE",
        ),
    ] = None,
    suite: SuiteName = None,
    where: Where = None,
    split: Split = None,
    environment: Annotated[
        Text, typer.Option(help="Runs of one environment alone: a part of its hardware or versions.")
    ] = None,
    hide: Hide = None,
    label: Label = None,
    layout_file: Layout = None,
    digits: Annotated[int | None, typer.Option(help="Decimal places of accuracies (default: 2).")] = None,
    n: Annotated[bool | None, typer.Option("--n/--no-n", help="Show the number of seeds.")] = None,
    p: Annotated[bool | None, typer.Option("--p/--no-p", help="Show the p values of gains.")] = None,
    interval: Annotated[bool | None, typer.Option("--interval/--no-interval", help="Show their intervals.")] = None,
    gains: Annotated[Text, typer.Option(help="Show gains in columns, in the cell or in rows.")] = None,
    rank: Annotated[bool | None, typer.Option("--rank/--no-rank", help="A column with the average rank.")] = None,
    aggregates: Annotated[
        bool | None, typer.Option("--aggregates/--no-aggregates", help="Columns with the gains over all columns.")
    ] = None,
    siunitx: Annotated[
        bool | None, typer.Option("--siunitx/--no-siunitx", help="latex: columns aligned by siunitx.")
    ] = None,
    form: Annotated[
        Text,
        typer.Option(
            "--format", help="md, latex, csv, html, json or parquet (default: by the ending of --out, or md)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=as_path, help="Write it to a file instead of printing it.", metavar="FILE")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Compare with published numbers, with sources.")
    ] = False,
) -> None:
    """Print the table of all stored runs: mean ± standard deviation over seeds, best bold, second underlined."""
    from benchmark import store, tables
    from benchmark.metrics import of_frame
    from benchmark.tables import footnotes, layout, located, published as of_others, rendering, style as layouts

    ending = out.suffix.removeprefix(".") if out else ""
    form = rendering.check_format(form or ENDINGS.get(ending, ending) or "md", published)
    if resolve is not None:
        tables.check_bound("resolve", resolve)
    down = layout.check_names("rows", layout.split_words(rows), layout.KEYS)
    if published:
        there = results or Path("results").is_dir()
        frame = store.load(places(results), "last", prefer=prefer, split="all") if there else None
        say_notes(frame.attrs[store.DAMAGED].values() if frame is not None else ())
        content = of_others.typed_comparison(of_others.compare(frame))
        _put(rendering.TEXT_FORMATS[form](content), out)
        return
    said: dict[str, Any] = {
        "suite": suite,
        "where": where,
        "split": split,
        "hide": hide,
        "baseline": baseline,
        "digits": digits,
        "n": n,
        "p": p,
    }
    said |= {"interval": interval, "gains": gains, "rank": rank, "aggregates": aggregates, "siunitx": siunitx}
    wanted = layouts.read(layout_file, said)
    choice, showing = wanted.filter(), wanted.style(label or ())
    frame = store.load(places(results), "last", prefer=prefer, split="all")
    frame = frame if environment is None else tables.in_environment(frame, environment)
    say_notes(frame.attrs[store.DAMAGED].values())
    metrics = of_frame(frame)
    valid = (*layout.KEYS, *metrics)
    named = [] if columns is None else layout.check_names("columns", layout.split_words(columns), valid)
    keys = [name for name in named if name in layout.KEYS]
    scores = [name for name in named if name in metrics]
    if value is not None:
        scores = layout.check_names("value", layout.split_words(value), metrics) + scores
    across = keys or [key for key in layout.COLUMNS if key not in down] or ["split"]
    if frame.empty:
        raise InputError(f"no runs in {shown(results)} yet: bench run makes some")
    frame, left_out = choice.runs(located(frame, store.folders(places(results))), "split" in (*down, *across))
    if not scores and wanted.value:
        scores = layout.check_names("value", wanted.value, metrics)
    judged = list(dict.fromkeys(scores)) or None
    folders = store.folders(places(results))
    plans = tables.stored_plans(folders)
    made = tables.build(frame, judged, down, across, wanted.baseline, resolve, choice, showing, plans=plans)
    _put(rendering.parquet(made) if form == rendering.PARQUET else rendering.rendered(made, form), out)
    for line in [*(f"note: {line}" for line in left_out), *footnotes(frame)]:
        # another program may read the other formats
        tell(*([""] if form == "md" else []), line, error=form != "md")


def _put(content: str | bytes, out: Path | None) -> None:
    """Print a table, or write it to a file."""
    if out is not None:
        from benchmark.store import put

        put(out, content if isinstance(content, bytes) else f"{content}\n")
    elif isinstance(content, str):
        tell(*content.split("\n"))
    elif sys.stdout.isatty():
        raise InputError("a Parquet file is not text: write it with --out FILE.parquet")
    else:
        sys.stdout.flush()
        try:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        except OSError as fault:
            raise OutputError(fault) from None
