"""Text stays text in every kind of document, whatever characters it has."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, strategies as st
from matplotlib.cbook import is_math_text

from benchmark import escaping
from benchmark.escaping import LATEX, MARKDOWN, visible
from benchmark.metrics import METRICS
from benchmark.store import Status
from benchmark.tables import Heading, Table, TableStyle, frame_csv, frame_markdown
from benchmark.tables.rendering import FORMATS, TEXT_FORMATS, plain
from benchmark.tables.replicates import Replicates, Unfinished
from benchmark.tables.view import of_texts
from tests.names import CONTROLS, NAMES
from tests.profiles import examples

ANY = st.one_of(
    st.sampled_from(NAMES),
    st.text(st.characters(), min_size=1, max_size=30),
    st.text("|<>`~$*_\\[](){}&#;%^-=+@'\"!/,: \n\r\t\x1b a1é数", min_size=1, max_size=30),
)
WELL_FORMED = ANY.filter(lambda name: not re.search("[\ud800-\udfff]", name))
"""Without halves of characters, which pandas does not hold."""

LATEX_TOKEN = re.compile(r"\\[&%$#_{}]|\\[A-Za-z]+\{\}|\$[^$]*\$|\{[\[\]*]\}|-\{\}|~")
MARKDOWN_SPECIAL = re.compile(r"[|<`~$]|\*(?=\S)|(?<=\S)\*")


class TestForms:
    @given(ANY)
    def test_visible_is_one_line_and_keeps_all_else(self, name: str) -> None:
        assert not re.search(r"[\n\t]", visible(name))
        assert not CONTROLS.search(visible(name))
        assert visible(visible(name)) == visible(name)
        if not CONTROLS.search(name) and not re.search(r"[\n\t]", name):
            assert visible(name) == name

    @given(ANY)
    def test_latex_has_no_special_left(self, name: str) -> None:
        printed = escaping.latex(name)
        assert not CONTROLS.search(printed)
        rest = LATEX_TOKEN.sub("", printed)
        assert not set("\\{}$&#^_~%<>|`[]") & set(rest)
        assert printed.count("?") == name.count("?")

    @given(ANY)
    def test_markdown_prints_the_name(self, name: str) -> None:
        printed = escaping.markdown(name)
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", printed) == visible(name)
        bare = re.sub(r"\\[!-/:-@\[-`{-~]", ".", printed)
        assert not MARKDOWN_SPECIAL.search(bare)
        assert not re.search(r"\]\(|&#?\w+;", bare)

    @given(ANY)
    def test_a_code_span_ends_where_it_is_to_end(self, name: str) -> None:
        printed = escaping.markdown_code(name)
        fence = re.match("`+", printed)
        assert fence
        assert fence[0] not in re.findall("`+", printed[len(fence[0]) : -len(fence[0])])
        assert visible(name) in printed

    @given(ANY)
    def test_csv_is_no_formula(self, name: str) -> None:
        printed = escaping.csv_text(name)
        assert not printed.lstrip().startswith(("=", "+", "-", "@"))
        assert printed.removeprefix("'") == visible(name).removeprefix("'")

    @given(ANY)
    def test_html_is_text(self, name: str) -> None:
        assert html.unescape(escaping.hypertext(name)) == html.unescape(html.escape(visible(name)))
        assert not set("<>\"'") & set(escaping.hypertext(name))

    @given(ANY, ANY)
    def test_a_figure_has_no_formula_that_nobody_wrote(self, name: str, other: str) -> None:
        drawn = f"{escaping.figure(name)}/{escaping.figure(other)}"
        assert not is_math_text(drawn)
        # a sign that is not seen keeps a name that begins with a line in its legend
        seen, wanted = drawn.replace(r"\$", "$"), f"{visible(name)}/{visible(other)}"
        assert seen.replace("\u200b", "") == wanted.replace("\u200b", "")
        assert not escaping.figure(name).startswith("_")


class TestLatex:
    @pytest.mark.parametrize(
        ("name", "printed"),
        [
            ("DML \N{EN DASH} ours (\N{GREEK SMALL LETTER ALPHA}≤0.5)", r"DML -- ours ($\alpha$$\leq$0.5)"),
            ("npz:数据.npz", "npz:数据.npz"),
            ("Müller, Łódź", "Müller, Łódź"),
            ("e\N{COMBINING ACUTE ACCENT}", "é"),
            (r"\input{x}", r"\textbackslash{}input\{x\}"),
            ("#1_2^3~&{} 100 %", r"\#1\_2\textasciicircum{}3\textasciitilde{}\&\{\} 100 \%"),
            ("a--b", "a-{}-b"),
            ("Ω, Α, 3 × 2 ± 1 °", r"$\Omega$, $A$, 3 $\times$ 2 $\pm$ 1 $^\circ$"),  # noqa: RUF001
        ],
    )
    def test_characters(self, name: str, printed: str) -> None:
        assert escaping.latex(name) == printed

    def test_what_only_other_programs_print_is_said(self) -> None:
        assert escaping.latex_needs(["Müller", r"$\alpha$ -- 1 \%"]) == []
        (one,) = escaping.latex_needs(["数据", "数"])
        assert "XeLaTeX or LuaLaTeX" in one
        assert {"数", "据"} <= set(one)
        (one,) = escaping.latex_needs(["ę"])
        assert "[T1]{fontenc}" in one

    def test_a_persons_words_may_be_markup_and_data_beside_them_are_not(self) -> None:
        showing = TableStyle(labels={"resnet8": "ResNet-$8$", "dml": r"\textsc{dml}"})
        assert showing.word(r"\input{x}/resnet8", LATEX) == r"\textbackslash{}input\{x\}/ResNet-$8$"
        assert showing.word("US$ and A$/resnet8", MARKDOWN) == r"US\$ and A\$/ResNet-$8$"
        assert showing.levels("$a$/resnet8, lr=0_1", LATEX) == (r"\$a\$", r"ResNet-$8$, lr=0\_1")
        assert showing.word("dml", LATEX) == r"\textsc{dml}"


def table(names: list[str], reason: str) -> Table:
    headings = [Heading(name, METRICS["student"], part=reason) for name in names]
    cells = {
        (row, heading): Replicates({0: 50.0 + place}, [Unfinished(Status.FAILED, 1, reason)])
        for place, row in enumerate(names)
        for heading in headings
    }
    return Table("method", names, headings, cells, baseline=names[0])


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        assert not attrs
        if tag == "th":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


class TestTables:
    @examples(30)
    @given(st.lists(WELL_FORMED, min_size=2, max_size=3, unique=True), WELL_FORMED)
    def test_no_name_breaks_a_table(self, names: list[str], reason: str) -> None:
        made = table(names, reason)
        printed = {form: render(made) for form, render in FORMATS.items()} | {"plain": plain(made)}
        for form, text in printed.items():
            assert not CONTROLS.search(text), form
        for form in ("md", "plain"):
            lines = printed[form].partition("\n\n")[0].split("\n")
            assert len(lines) == len(names) + 2
            assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}) == 1
        tidy = list(csv.DictReader(io.StringIO(printed["csv"])))
        assert {row["part"] for row in tidy} == {escaping.csv_text(reason)}
        page = Tags(printed["html"])
        assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "b", "u", "ul", "li"}
        assert [row["row"] for row in json.loads(printed["json"])["cells"]][:: len(names)] == names
        body = printed["latex"].split(r"\midrule")[1].split("\n")[1:-1]
        assert len(body) >= len(names)
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in body[: len(names)]}) == 1

    @examples(30)
    @given(WELL_FORMED, WELL_FORMED)
    def test_other_tables(self, name: str, other: str) -> None:
        content = of_texts([name, other], [[other, "1"], [name, "-0.5"]], [name], name)
        for render in TEXT_FORMATS.values():
            assert not CONTROLS.search(render(content))
        assert TEXT_FORMATS["csv"](content).splitlines()[-1].endswith(",-0.5")
        frame = pd.DataFrame({name: [other, name], "n": [1, 2]})
        assert len(list(csv.reader(io.StringIO(frame_csv(frame))))) == 3
        assert len(frame_markdown(frame, index=False).split("\n")) == 4

    def test_a_note_begins_nothing_but_an_item(self) -> None:
        content = of_texts(["a"], [], ["# no heading", "- no list"])
        assert TEXT_FORMATS["md"](content).split("\n")[-2:] == [r"- \# no heading", r"- \- no list"]
