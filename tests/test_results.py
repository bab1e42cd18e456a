"""The committed results: generated tables are up to date, and every page has the same verdicts and numbers."""

import html
import json
import re
from pathlib import Path

import pytest

from benchmark import cli
from benchmark.configuration import suites
from benchmark.reports import Content, figures
from benchmark.reports.style import View
from benchmark.tables import Table, TableFilter, typed
from tools import tables

BLOCKS = {suite: f"<!-- suite: {suite} -->" for suite in tables.TABLES}
PAGES = [(tables.ROOT / name).read_text(encoding="utf-8") for name in tables.PAGES]


@pytest.fixture(scope="module", params=[suite for suite, begin in BLOCKS.items() if begin in "".join(PAGES)])
def suite(request: pytest.FixtureRequest) -> str:
    """Each suite of which a page has the table."""
    return str(request.param)


@pytest.fixture(scope="module")
def table(suite: str) -> Table:
    return tables.read(suite)[0]


def test_generated_tables_are_up_to_date() -> None:
    stale = [path for path, text in tables.generated().items() if path.read_text(encoding="utf-8") != text]
    assert stale == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, suite: str) -> Path:
    from benchmark import exchange

    place = tmp_path_factory.mktemp("results")
    exchange.merge([(tables.ROOT / tables.TABLES[suite]).with_name("runs.tar.gz")], place)
    return place


def written(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["bench", *words])
    cli.main()


def facts(table: Table) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Value, gain and verdict by method and budget."""
    content = typed(table)
    found = {}
    for heading in table.headings:
        columns = [content.column(f"{heading.id}{end}") for end in ("", ":gain", ":verdict")]
        for place, row in enumerate(content.rows):
            value, gain, verdict = (column.cells[place].text for column in columns)
            found[row.id, heading.budget] = (value, gain, verdict)
    return found


def cells(page: str) -> list[list[str]]:
    """The rows of all tables of an HTML page, as text."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in found]


@pytest.mark.thorough
def test_figures_have_a_suite_s_columns_in_the_order_of_its_table(suite: str, table: Table, results: Path) -> None:
    columns = list(dict.fromkeys(table.style.word(heading.column) for heading in table.headings))
    choice = TableFilter(suite=suite)
    content = Content.read(results, choice=choice)
    assert content.panels == columns
    figure = figures.cost(content.frame, view=View(choice))
    assert [axis.get_title() for axis in figure.axes] == columns


@pytest.mark.thorough
def test_every_page_has_the_same_verdicts_and_numbers(
    suite: str,
    table: Table,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = facts(table)
    where = ["--results", str(results), "--suite", suite]
    written(monkeypatch, "table", *where, "--format", "json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["declaration"]["comparisons"] == suites.read(suite).comparisons
    for cell in printed["cells"]:
        budget = next(column["budget"] for column in printed["columns"] if column["id"] == cell["id"])
        assert cell.get("verdict", {"text": ""})["text"] == expected[cell["row"], budget][2]
    written(monkeypatch, "report", *where, "--out", str(tmp_path / "report.html"))
    written(monkeypatch, "site", *where, "--out", str(tmp_path / "site"))
    report = cells((tmp_path / "report.html").read_text(encoding="utf-8"))
    # what is not declared has no gains: the tables by section are exploratory
    assert sum(cell.endswith(" gain") for row in report for cell in row) == len(printed["columns"])
    site = cells((tmp_path / "site" / "index.html").read_text(encoding="utf-8"))
    pages = [page.partition(BLOCKS[suite])[2].partition("<!-- end -->")[0] for page in PAGES if BLOCKS[suite] in page]
    for (method, budget), (value, gain, verdict) in expected.items():
        # some tables say the number of seeds behind a value, others in a column of its own
        number, interval = value.partition(" (")[0], gain.partition(", n=")[0]
        rows = [row for row in report if row[0] == method and any(cell.startswith(number) for cell in row)]
        assert any(any(cell.startswith(interval) for cell in row) and verdict in row for row in rows), (method, budget)
        rows = [row for row in site if row[0] == method and row[1:2] == [number]]
        assert any(row[2] == interval and verdict in row for row in rows if verdict) or not verdict, (method, budget)
        for page in pages:
            (line,) = [line for line in page.splitlines() if line.startswith(f"| {method} ") and number in line]
            assert interval in line
            assert f"| {verdict}" in line
