"""Names from data through everything that shows stored runs: text everywhere, and no word of it carried out."""

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark import store
from benchmark.reports import Content, figures, page, prediction_figures, style
from benchmark.reports.style import View
from benchmark.scheduling.progress import Display
from benchmark.site import build as build_site
from benchmark.store import Predictions, Store, write_predictions
from benchmark.tables import TableStyle, build, rendered
from methods.errors import InputError
from tests.command_line import Bench
from tests.names import CONTROLS, NAMES
from tests.tables.frames import compiled, config, put

WRITTEN = tuple(name for name in NAMES if "\ud800" not in name)
COLUMNS = ("US$ and A$", "$1_$5", "npz:数据.npz")
DRAWN = (*COLUMNS, "\x1b[31mred\x9b", "שלום עולם", "🙂")
METHODS = ("independent", "dml", "_β|$x$\x1b[2J")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, one of them of a strange name, on datasets of strange names."""
    kept = Store(tmp_path_factory.mktemp("results"))
    for place, method in enumerate(METHODS):
        for dataset in WRITTEN:
            for seed in range(3):
                put(kept, config(method, dataset, seed), 50.0 + place + seed * (1 + 0.1 * place))
    return kept.root


@pytest.fixture(scope="module")
def frame(results: Path) -> pd.DataFrame:
    return store.load(results)


def texts(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class TestTerminal:
    def test_no_command_sends_a_control_character(self, bench: Bench, results: Path) -> None:
        run = next(path.name for path in (results / "runs").iterdir() if "dml" in path.name)
        place = ("--results", str(results))
        for words in (("table",), ("table", "--format", "latex"), ("list", "runs"), ("show", run)):
            answer = bench(*words, *place)
            assert answer.code == 0, answer.err
            assert not CONTROLS.search(answer.out + answer.err), words
        answer = bench("table", *place, "--where", "dataset=\x1b[2J")
        assert answer.code == 2
        assert not CONTROLS.search(answer.err)

    def test_a_name_is_no_markup_of_the_running_display(self) -> None:
        written = io.StringIO()
        console = Console(file=written, force_terminal=True, width=200)
        with Display(1, console) as display:
            display.started(config("dml", "[red]x[/red]\x07", 0))
        assert "[red]x[/red]" in written.getvalue()
        assert "\x07" not in written.getvalue()


def test_pages_have_them_as_text(results: Path, tmp_path: Path) -> None:
    made = page.render(Content.read(results))
    assert "&lt;script&gt;alert(1)&lt;" in made
    assert "npz:数据.npz" in made
    build_site([results], tmp_path / "site")
    for one in [made, *map(texts, (tmp_path / "site").rglob("*.html"))]:
        assert not CONTROLS.search(one)
        assert "<script>alert" not in one


class TestLatex:
    def test_a_table_compiles(self, frame: pd.DataFrame, tmp_path: Path) -> None:
        own = frame[~frame["dataset"].isin(["npz:数据.npz", "שלום עולם", "🙂", "x̂ é"])]
        compiled(tmp_path, r"\documentclass{article}", rendered(build(own), "latex"))

    def test_its_head_says_what_it_needs(self, frame: pd.DataFrame) -> None:
        head = rendered(build(frame), "latex").splitlines()
        assert "XeLaTeX or LuaLaTeX" in head[1]
        assert {"数", "ש", "🙂"} <= set(head[1])
        assert not any(
            "XeLaTeX" in line for line in rendered(build(frame[frame["dataset"] == "a|b"]), "latex").splitlines()
        )


class TestFigures:
    LABELS = TableStyle(labels={"dml": r"$\alpha$-DML", "resnet8": "ResNet-$8$"})

    @pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
    def test_all_names_are_drawn_and_nothing_is_warned_of(
        self, frame: pd.DataFrame, ending: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        view = View(showing=self.LABELS)
        own = frame[frame["dataset"].isin(DRAWN)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # of matplotlib's own calls, which are not of names
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            style.save(figures.curves(own, view=view), tmp_path / f"x.{ending}", view)
            style.save(figures.critical_difference(own, view=view), tmp_path / f"y.{ending}", view)
            style.save(figures.ranks(own, view=view), tmp_path / f"z.{ending}", view)
        lines = capfd.readouterr().err.splitlines()
        assert all(line.startswith("note: no font for ") for line in lines)
        assert len(lines) <= 1

    def test_dollars_of_data_are_dollars_and_those_of_a_label_a_formula(
        self, bench: Bench, results: Path, tmp_path: Path
    ) -> None:
        words = ["plot", "curves", "--results", str(results), "--label", r"dml=$\beta_1$"]
        only = ",".join(f"'{name}'" for name in COLUMNS[:2])
        answer = bench(*words, "--where", f"dataset={only}", "--out", "x.svg")
        assert answer.code == 0, answer.err
        drawn = texts(tmp_path / "x.svg")
        assert "US$ and A$/resnet8" in drawn
        assert "$1_$5/resnet8" in drawn
        assert ">β</tspan>" in drawn

    def test_a_label_that_is_no_formula_is_answered(self, frame: pd.DataFrame) -> None:
        with pytest.raises(InputError, match=r"label '\$1_\$5'.*formula"):
            figures.curves(frame[frame["dataset"] == "a|b"], view=View(showing=TableStyle(labels={"dml": "$1_$5"})))

    def test_classes_are_named_as_they_are(self, tmp_path: Path) -> None:
        kept = Store(tmp_path / "results")
        run = config("dml", "digits", 0)
        put(kept, run, 50.0)
        classes = ("US$ and A$", "$1_$5", "数据", "a\x1bb", "a name of more letters, $x$")
        said = Predictions(
            run=run.identity,
            logits={"peer0": np.eye(5, dtype=np.float32)},
            labels=np.arange(5),
            images=np.arange(5),
            classes=classes,
            students=("peer0",),
        )
        write_predictions(kept.folder(run), said)
        own = store.load(kept.root, "last")
        folders, _ = prediction_figures.folders_with_predictions(own, [kept.root])
        figure = prediction_figures.confusion(own, folders)
        names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert names == [r"US\$ and A\$", r"\$1_\$5", "数据", r"a\u001bb", "a name of more le…"]
        style.save(figure, tmp_path / "x.png")

    def test_one_line_names_what_no_font_has(
        self, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(style, "get_font_names", list)
        figure = figures.curves(frame[frame["dataset"] == "npz:数据.npz"])
        style.save(figure, tmp_path / "x.png")
        (line,) = capfd.readouterr().err.splitlines()
        assert {"数", "据"} <= set(line)
        # a reader of the file has fonts of its own for what stays text
        style.save(figure, tmp_path / "x.svg")
        assert capfd.readouterr().err == ""
        assert "npz:数据.npz" in texts(tmp_path / "x.svg")

    def test_other_fonts_follow_where_they_are_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(style, "get_font_names", lambda: ["Symbola", "Noto Sans CJK JP", "Comic Sans MS"])
        assert style.font_families() == ["sans-serif", "Noto Sans CJK JP", "Symbola"]

    def test_a_name_is_cut_off_and_a_formula_is_not(self) -> None:
        assert style.shortened(r"\$\$\$\$\$", 4) == r"\$\$\$…"
        assert style.shortened(r"$\alpha\beta\gamma$ of the runs", 4) == r"$\alpha\beta\gamma$ of the runs"
