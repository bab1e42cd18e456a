"""Tables that compare: best, second, ranks, gains, and the forms that show them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmark import store
from benchmark.escaping import latex
from benchmark.store import Result, Status
from benchmark.tables.rendering import rendered
from benchmark.tables.table import build
from methods.errors import InputError
from tests import needs
from tests.tables.test_tables import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


class TestComparison:
    @pytest.fixture
    def frame(self, runs: Runs) -> Any:
        for seed in range(4):
            runs.add(70.0 + seed, seed=seed, methods="independent")
            runs.add(75.0 + seed + 0.1 * (seed % 2), seed=seed)
            runs.add(60.0 + seed, seed=seed, methods="one", backbone="resnet14")
        runs.add(72.0, seed=0, methods="okddip")
        runs.add(10.0, seed=1, methods="okddip", ending=Result(Status.COLLAPSED, "at chance"))
        return store.load(runs.store.root)

    def test_best_is_bold_and_second_underlined(self, frame: Any) -> None:
        text = rendered(build(frame))
        assert "**76.55 ± 1.32 (4)**" in text
        assert "<u>72.00 (1)</u>, 1 collapsed: at chance" in text
        assert r"\textbf{76.55 $\pm$ 1.32} {\scriptsize (4)}" in rendered(build(frame), "latex")
        assert "<b>76.55 ± 1.32 (4)</b>" in rendered(build(frame), "html")
        for form in ("csv", "json"):
            assert "**" not in rendered(build(frame), form)

    def test_lower_is_better_for_nll(self, runs: Runs) -> None:
        runs.add(70.0)
        run = runs.add(60.0, methods="one")
        row = {"student": 60.0, "top1/peer0": 60.0, "nll/peer0": 0.1}
        runs.store.write_metrics(run, [{"epoch": epoch, **row} for epoch in range(run.train.epochs)])
        table = build(store.load(runs.store.root), ["nll"])
        assert table.leaders(table.headings[0]) == ({"one"}, {"dml"})

    def test_ranks_count_only_complete_columns(self, runs: Runs) -> None:
        for method, accuracies in {"independent": (70, 71), "dml": (72, 71), "one": (74, 73)}.items():
            for backbone, accuracy in zip(("resnet8", "resnet14"), accuracies, strict=True):
                runs.add(float(accuracy), methods=method, backbone=backbone)
        runs.add(95.0, backbone="resnet20")
        table = build(store.load(runs.store.root))
        assert table.ranks() == ({"independent": 2.75, "dml": 2.25, "one": 1.0}, 2, 3)
        assert "over the 2 of 3 columns" in rendered(table)

    def test_gain_over_a_baseline(self, frame: Any) -> None:
        text = rendered(build(frame, baseline="independent"))
        assert "+5.05 [+4.96, +5.14], n=4, p=" in text
        assert "+2.00, n=1 " in text
        assert "t interval" in text
        assert "baseline" in text

    def test_a_baseline_of_several_rows_is_refused(self, runs: Runs) -> None:
        for temperature in (1, 2):
            runs.add(70.0, dml={"temperature": temperature})
        frame = store.load(runs.store.root)
        with pytest.raises(InputError, match="several rows: 'dml, temperature=1', 'dml, temperature=2'"):
            build(frame, baseline="dml")
        with pytest.raises(InputError, match="unknown baseline 'dmk'"):
            build(frame, baseline="dmk")
        assert build(frame, baseline="dml, temperature=2").baseline == "dml, temperature=2"

    def test_json_has_every_seed(self, frame: Any) -> None:
        content = json.loads(rendered(build(frame, baseline="independent"), "json"))
        (cell,) = [cell for cell in content["cells"] if cell["row"] == "dml"]
        assert cell["seeds"] == {"0": 75.0, "1": 76.1, "2": 77.0, "3": 78.1}
        assert cell["gain"]["n"] == 4
        (unlucky,) = [cell for cell in content["cells"] if cell["row"] == "okddip"]
        assert unlucky["not_finished"] == {"collapsed": {"count": 1, "reason": "at chance"}}


class TestLatex:
    def test_special_characters(self) -> None:
        assert latex("a_b & 5 % ± #") == r"a\_b \& 5 \% $\pm$ \#"

    def test_it_compiles_as_it_is(self, runs: Runs, tmp_path: Path) -> None:
        needs.programs("pdflatex", packages="texlive-latex-recommended")
        for seed in range(3):
            runs.add(70.0 + seed, seed=seed, data={"train_per_class": 5})
            runs.add(71.0 + seed * seed, seed=seed, methods="one", data={"train_per_class": 5})
        runs.add(1.0, seed=7, ending=Result(Status.FAILED, "100 % _of_ ~^\\ {it} $1 ü € [x]"))
        (tmp_path / "t.tex").write_text(
            rendered(build(store.load(runs.store.root), ["student", "best"], baseline="dml"), "latex")
        )
        (tmp_path / "main.tex").write_text(
            "\\documentclass{article}\\usepackage{booktabs}\n\\begin{document}\\input{t}\\end{document}\n"
        )
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "main.pdf").stat().st_size > 1000
