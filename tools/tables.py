"""Tables of the README and of the results pages, generated from the committed runs and their suites (make tables)."""

import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmark import exchange, store
from benchmark.escaping import MARKDOWN
from benchmark.tables import Column, Table, TableFilter, TableStyle, TypedTable, build, footnotes, rendered, typed
from benchmark.tables.rendering import markdown
from benchmark.tables.view import Cell

ROOT = Path(__file__).parents[1]

TABLES: Mapping[str, str] = {
    "cifar100_subset": "results/cifar100/table.md",
    "cifar100_others": "results/cifar100/others.md",
    "cifar10_subset": "results/cifar10/table.md",
    "digits": "results/digits/table.md",
}
"""The whole table of each suite whose results are committed; the bundle of its runs is beside it."""

PAGES = ("README.md", "results/README.md", "results/cifar100/README.md")
"""Pages with generated tables, between ``<!-- suite: NAME -->`` and ``<!-- end -->``."""

_BLOCK = re.compile(r"(<!-- suite: (?P<suite>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(suite: str, root: Path = ROOT) -> tuple[Table, pd.DataFrame]:
    """Return the table of a suite from its committed bundle, and its runs."""
    choice = TableFilter(suite=suite)
    with tempfile.TemporaryDirectory() as place:
        exchange.merge([(root / TABLES[suite]).with_name("runs.tar.gz")], Path(place))
        frame, _ = choice.runs(store.load(Path(place), "last", split="all"))
    table = build(frame, choice=choice, showing=TableStyle(rank=False, aggregates=False))
    # the page says how many seeds there are, unless some are missing
    complete = len({len(one.values) for one in table.replicates.values()}) == 1
    return replace(table, style=table.style.model_copy(update={"n": not complete})), frame


def page(table: Table, frame: pd.DataFrame) -> str:
    """Return the whole table with its notes, as ``bench table --suite`` prints it."""
    return "\n".join([rendered(table), "", *footnotes(frame), ""])


def summary(table: Table, frame: pd.DataFrame) -> str:
    """Return the table with the cost of a step and without planned seeds, and a line that counts the verdicts."""
    content = typed(replace(table, style=table.style.model_copy(update={"planning": False})), form=MARKDOWN)
    shown = content.only("row", "value", "gain", "verdict")
    adds = frame.groupby("method")["cost.step_multiply_adds"].mean()
    relative = [f"{adds[row.id] / adds[str(table.baseline)]:.1f}" for row in shown.rows]
    cost = Column("cost", "text", "cost", [*map(Cell, relative)])
    columns = [shown.columns[0], cost, *(replace(one, title=_title(one)) for one in shown.columns[1:])]
    return f"{markdown(TypedTable(columns, shown.rows), str)}\n\n{counted(table)}\n"


def _title(column: Column) -> str:
    budget = column.heading.budget or "equal epochs" if column.heading else ""
    return budget if column.kind == "value" else column.kind


def counted(table: Table) -> str:
    """Return how many methods have which verdict, a sentence for each column."""
    parts = []
    for heading in table.headings:
        words = [gain.text for (_, key), gain in table.gains.items() if key == heading]
        counts = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words))) or "none yet"
        parts.append(f"{heading.budget or 'equal epochs'}: {counts}")
    declared = table.declaration
    level = "" if declared is None else f" (level 0.05 / {declared.comparisons})"
    return f"Verdicts against {table.baseline}{level}: {'; '.join(parts)}."


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Return the content that each file with a generated table should have."""
    found = {suite: read(suite, root) for suite in TABLES}
    files = {root / TABLES[suite]: page(*made) for suite, made in found.items()}
    for name in PAGES:
        text = (root / name).read_text(encoding="utf-8")
        files[root / name] = _BLOCK.sub(lambda block: f"{block[1]}{summary(*found[block['suite']])}{block[3]}", text)
    return files


def main() -> None:
    """Write the files whose tables are stale, and name them."""
    for path, text in generated().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}: written\n")


if __name__ == "__main__":
    main()
