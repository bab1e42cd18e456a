"""``bench table``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import ManyResults, Prefer, name_damaged, places, shown
from methods.errors import InputError

VALUES = (
    "student, first, best, each, ensemble, peers, teachers, best-epoch, top5, nll, ece, ensemble-gain, teacher-gain, "
    "distance, kl, disagreement, teacher-kl, seconds, memory, parameters, multiply-adds, training-multiply-adds"
)


def table(
    results: ManyResults = None,
    prefer: Prefer = None,
    rows: Annotated[str, typer.Option(help="What makes a row: method, dataset, backbone, split, seed.")] = "method",
    columns: Annotated[
        str | None,
        typer.Option(
            help="What makes a column, of the same words (default: dataset,backbone); names of scores, see --value, "
            "may stand here too and add a column each: --columns student,best,ensemble.",
        ),
    ] = None,
    value: Annotated[str | None, typer.Option(help=f"Scores, with commas (default: student): {VALUES}.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="A method: adds each gain over it, paired over seeds, with a 95 % interval.", metavar="NAME"),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="md, latex, csv, html or json.")] = "md",
    published: Annotated[
        bool, typer.Option("--published", help="Set our numbers beside published ones, with sources.")
    ] = False,
) -> None:
    """Print the table of all stored runs: mean ± standard deviation over seeds, best bold, second underlined."""
    from benchmark import store, tables
    from benchmark.tables import layout, rendering
    from benchmark.tables.footnotes import footnotes

    rendering.check_format(form)
    keys, scores = layout.keys_and_scores(layout.split_words(columns)) if columns is not None else ([], [])
    if value is not None:
        scores = layout.check_scores("value", layout.split_words(value)) + scores
    down = layout.check_keys("rows", layout.split_words(rows))
    across = keys or [key for key in layout.COLUMNS if key not in down] or ["split"]
    if published:
        from benchmark.tables import published_table

        there = results or Path("results").is_dir()
        frame = store.load(places(results), "last", prefer=prefer) if there else None
        name_damaged(frame.attrs[store.DAMAGED].values() if frame is not None else ())
        content = published_table.grid(published_table.compare(frame))
        print(rendering.FORMATS[form](content))
        return
    frame = store.load(places(results), "last", prefer=prefer)
    name_damaged(frame.attrs[store.DAMAGED].values())
    if frame.empty:
        raise InputError(f"no runs in {shown(results)} yet: bench run makes some")
    print(rendering.rendered(tables.build(frame, list(dict.fromkeys(scores)) or None, down, across, baseline), form))
    for line in footnotes(frame):
        # another program may read the other forms
        print(f"\n{line}" if form == "md" else line, file=sys.stdout if form == "md" else sys.stderr)
