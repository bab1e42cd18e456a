"""A valid bundle that is edited at random: nothing of it is said to be identical or reproduced unless its table is."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from benchmark import exchange
from benchmark.exchange import Access, Mark, submission, submission_check
from benchmark.store import load
from methods.errors import InputError
from tests.exchange.conftest import Run, forge
from tests.profiles import examples

SHOWN = ("top1/", "student", "best_epoch")
"""What tables show of a run's accuracies; a smaller change than the bound cannot be told from other hardware."""

WORDS = st.sampled_from(["peer0", "ensemble", "pcl", "student", "../x", "", "finished", "another", "0", "NaN"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 5, 10**20, -0.5, 0.1, 99.5, 1e300])
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.just([]), st.just({}))
Edit = Callable[[Run], None]


def inside(run: Run, part: str) -> list[tuple[Any, Any]]:
    """Every place of a run's files that can be edited: what holds it, and its key."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [{"config": run.config, "result": run.result, "rows": run.rows}[part]]
    while waiting:
        item = waiting.pop()
        keys = item.keys() if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            found.append((item, key))
            if isinstance(item[key], dict | list):
                waiting.append(item[key])
    return sorted(found, key=lambda place: repr(place[1]))


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    part = draw(st.sampled_from(["config", "result", "rows", "rows", "rows"]))
    kind = draw(st.sampled_from(["drop", "change", "shift", "rename"]))
    number, value, shift = draw(st.integers(0, 10**6)), draw(VALUES), draw(st.floats(-5, 5))
    word, rename = draw(WORDS), draw(st.booleans())

    def edit(run: Run) -> None:
        places = inside(run, part)
        item, key = places[number % len(places)]
        if kind == "drop":
            del item[key]
        elif kind == "change":
            item[key] = value
        elif kind == "rename" and isinstance(item, dict):
            item[word] = item.pop(key)
        elif isinstance(item[key], int | float):
            item[key] += shift
        if rename and part == "config":
            try:
                run.renamed()
            except Exception:
                # it is no configuration any more: the run keeps its name
                return

    return edit


def table(bundle: Path, folder: Path) -> dict[str, float]:
    exchange.merge([bundle], folder)
    last = load(folder, "last", split="all")
    accuracies = [name for name in last.columns if str(name).startswith(SHOWN) and name != "students"]
    means = last.groupby(["method", "dataset", "backbone", "students", "budgets"])[accuracies].mean()
    return {f"{key} {name}": value for name in accuracies for key, value in means[name].dropna().items()}


@examples(15)
@given(one=st.lists(edits(), min_size=1, max_size=3), every=st.booleans(), elsewhere=st.booleans())
def test_an_edited_bundle_is_never_identical_or_reproduced_with_another_table(
    honest_submission: Path, one: list[Edit], every: bool, elsewhere: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "submissions" / "dml"
        shutil.copytree(honest_submission, folder)
        bundle = folder / submission.BUNDLE
        honest = table(bundle, Path(place) / "honest")

        def change(run: Run) -> None:
            if every or "-s0-" in run.name:
                if elsewhere:
                    run.elsewhere()
                for edit in one:
                    edit(run)

        forge(bundle, change, "dml-")
        access = Access(Path(place) / "data", device="cpu")
        try:
            found = submission_check.check(submission.read(folder), access, 1, tell=lambda line: None)
            now = table(bundle, Path(place) / "now")
        except InputError as error:
            refused = str(error)
        else:
            refused = ""
        if refused:
            assert len(refused.splitlines()) == 1
            return
        if found.mark is Mark.IDENTICAL:
            assert now == honest
        elif found.mark is Mark.REPRODUCED:
            assert now.keys() == honest.keys()
            assert {name: now[name] for name in honest} == pytest.approx(honest, abs=exchange.BOUND)
