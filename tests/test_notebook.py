"""The notebook interface, and the example in the documentation: its blocks run and print what is below them."""

import contextlib
import io
import os
import re
from pathlib import Path
from typing import Any

import pytest

import benchmark
from methods.errors import InputError

PAGE = Path(__file__).parents[1] / "docs" / "notebook.md"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
SMALL: dict[str, Any] = {"engine": "serial", "device": "cpu", "quiet": True}


def words(text: str) -> list[str]:
    """Numbers without their digits: another processor may round accuracies otherwise."""
    return re.findall(r"[a-z/]+\d?", text)


@pytest.mark.thorough
def test_the_blocks_of_the_page_print_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 3
    for code, expected in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, names)
        assert words(out.getvalue()) == words(expected), out.getvalue()
        if os.environ.get("SHOW_NOTEBOOK"):
            print(out.getvalue())


def test_run_returns_the_runs_asked_for_and_repeats_none(tmp_path: Path) -> None:
    settings = {"data.train_per_class": 3, "data.test_per_class": 3}
    options = {**SMALL, "dataset": "digits", "epochs": 1, "settings": settings, "results": tmp_path}
    first = benchmark.run(methods="dml", seeds=(4, 7), **options)
    assert sorted(set(first["seed"])) == [4, 7]
    both = benchmark.run(methods=["dml", "independent"], seeds=[4], **options)
    assert {(row.method, row.seed) for row in both.itertuples()} == {("dml", 4), ("independent", 4)}
    seconds = first[first["seed"] == 4]["seconds"].tolist()
    assert both[both["method"] == "dml"]["seconds"].tolist() == seconds
    assert len(benchmark.load(tmp_path)) == 3


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"methods": "dmll"}, "did you mean 'dml'"),
        ({"settings": {"lr": 1.0}}, "settings are named as in"),
        ({"devise": "cpu"}, "did you mean 'device'"),
    ],
)
def test_bad_arguments_are_answered_with_the_valid_ones(arguments: dict[str, Any], fragment: str) -> None:
    with pytest.raises(InputError, match=re.escape(fragment)):
        benchmark.run(**arguments)
