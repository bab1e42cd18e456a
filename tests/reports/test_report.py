"""The page of a report: its content, its size, and how a browser shows it."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.configuration import RunConfig
from benchmark.metrics import COSTS
from benchmark.reports import Content, as_page_data, page as report
from benchmark.reports.content import group_curves, joined
from benchmark.reports.page import limitations
from benchmark.store import Contents, Result, Status, Store, StoredRun, brief
from methods.metrics import Role
from tests.browser import Browser
from tests.command_line import Bench
from tests.tables import frames

EVIL = "</script><img src=x onerror=\"document.title='broken'\"> & <b>\u2028"
ENVIRONMENT = {"torch": "2.15.0", "okdbench": "0.1.0", "commit": "abc", "hardware": "H200", "device": "cpu"}
METHODS = ("independent", "dml", "pcl")


def config(method: str, seed: int, epochs: int = 20, dataset: str = "digits", **hyperparameters: Any) -> RunConfig:
    return frames.config(method, dataset, seed, epochs, **hyperparameters)


def store_run(store: Store, run: RunConfig, level: float, ending: Status = Status.FINISHED, reason: str = "") -> None:
    """A run with plausible metrics, as if it had been trained."""
    store.begin(run)
    rows: list[dict[str, float]] = []
    for epoch in range(run.train.epochs if ending is Status.FINISHED else 2):
        accuracy = level * (1 - 0.5 ** (1 + epoch))
        scores = {f"top1/peer{k}": accuracy for k in range(3)} | {"top1/ensemble": accuracy + 1}
        share = {"distance/peers": 1 / (1 + epoch), "nll/peer0": 0.51234567, "loss": 2.0 / (1 + epoch)}
        rows.append({"epoch": epoch, "lr": 0.1, "seconds": 1.0, "student": accuracy, **scores, **share})
    store.write_metrics(run, rows)
    cost = {"parameters": 1e5 * (1 + len(run.method)), "step_multiply_adds": 1e7}
    store.write_result(run, Result(ending, reason, 60.0, ENVIRONMENT, cost, ("peer0", "peer1")))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three methods with three seeds, and a run that failed in the worst words."""
    store = Store(tmp_path / "results")
    for number, method in enumerate(METHODS):
        for seed in range(3):
            store_run(store, config(method, seed), 90 - 3 * number + seed / 10)
    store_run(store, config("pcl", 3), 50, Status.FAILED, EVIL)
    return store.root


class TestPage:
    def test_it_says_what_was_run_and_shows_the_tables(self, results: Path, bench: Bench, tmp_path: Path) -> None:
        answer = bench("report", "--results", results, "--out", "deep/r.html", "--baseline", "independent")
        assert answer.code == 0, answer.err
        assert "10 runs" in answer.out
        page = (tmp_path / "deep" / "r.html").read_text(encoding="utf-8")
        for text in ("10: 9 finished, 1 failed", "independent, dml, pcl", "H200", "sgd + standard augmentation",
                     "digits/resnet8 gain", "Not finished", "90.10 ± 0.10 (3)", "Homogenisation"):  # fmt: skip
            assert text in page

    def test_nothing_in_it_leads_out_and_what_runs_say_is_text(self, results: Path) -> None:
        page = report.render(Content.read(results))
        assert re.findall(r"https?://", page) == []
        assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?!data:)", page) == []
        assert "default-src 'none'" in page
        assert "<img" not in page
        assert page.count("</script>") == 2
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
        assert data is not None
        assert EVIL in {run["reason"] for run in json.loads(data[1])["runs"].values()}

    @pytest.mark.thorough
    def test_five_hundred_long_runs_stay_small(self, tmp_path: Path) -> None:
        # how much of a long run is drawn is the next test's matter
        store = Store(tmp_path / "many")
        for number in range(500):
            store_run(store, config(METHODS[number % 3], number // 3, 12), 80, Status.FINISHED)
        content = Content.read(store.root)
        assert len(content.runs) == 500
        assert report.write(content, tmp_path / "many.html") < 10e6

    def test_a_long_run_is_drawn_at_some_of_its_epochs(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        store_run(store, config("dml", 0, 1000), 90)
        data = as_page_data(Content.read(tmp_path))
        epochs, means = data["groups"][0]["curves"]["student accuracy"]
        assert len(epochs) == len(means) <= 120
        assert (epochs[0], epochs[-1]) == (1, 1000)

    def test_curves_are_listed_by_their_metrics_sections_and_costs_by_their_names(self, results: Path) -> None:
        data = as_page_data(Content.read(results))
        assert data["sections"] == {
            "Accuracy": ["student accuracy", "top1: peers", "top1: ensemble"],
            "Calibration": ["nll: students", "nll: peers"],
            "Homogenisation": ["distance: peers"],
            "Training": ["lr", "loss"],
        }
        assert data["costs"] == {name: metric.short for name, metric in COSTS.items()}
        (dml,) = (group for group in data["groups"] if data["rows"][group["row"]] == "dml")
        assert dml["cost"] == {"seconds": 60, "trained-parameters": 0.4, "training-multiply-adds": 10}

    def test_there_must_be_runs(self, bench: Bench, tmp_path: Path) -> None:
        for folder in (tmp_path / "nowhere", tmp_path):
            bench("report", "--results", folder, "--out", "r.html").assert_refused(str(folder))


class TestLimitations:
    def lines(self, *runs: StoredRun) -> str:
        rows: dict[str, list[StoredRun]] = {}
        for run in runs:
            rows.setdefault(f"{run.config.method} {run.config.hyperparameters}", []).append(run)
        return "\n".join(limitations({"digits/resnet8": rows}))

    def run(
        self, tmp_path: Path, *arguments: Any, hardware: str = "H200", status: Status = Status.FINISHED, **own: Any
    ) -> StoredRun:
        result = Result(status, "", 1.0, {**ENVIRONMENT, "hardware": hardware})
        return brief(tmp_path, Contents(config(*arguments, **own), result, [], name="a"))

    def test_a_clean_comparison_has_none(self, tmp_path: Path) -> None:
        assert self.lines(*(self.run(tmp_path, method, seed) for method in METHODS for seed in range(3))) == ""

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda t: t.run(Path(), "dml", 5, hardware="CPU"), "H200 (3), CPU (1)"),
            (lambda t: t.run(Path(), "pcl", 0), ": pcl {} (1)"),
            (lambda t: t.run(Path(), "dml", 7, 5), "5 epochs instead of 20"),
            (lambda t: t.run(Path(), "dml", 8, status=Status.COLLAPSED), "1 of 4 runs did not finish (1 collapsed)"),
        ],
    )
    def test_what_weakens_it_is_said(self, change: Callable[[Any], StoredRun], expected: str, tmp_path: Path) -> None:
        assert expected in self.lines(*(self.run(tmp_path, "dml", seed) for seed in range(3)), change(self))

    def test_choosing_settings_on_the_test_set_is_said(self, tmp_path: Path) -> None:
        tuned = [self.run(tmp_path, "dml", 0, temperature=t) for t in (1.0, 2.0)]
        assert "scored on the test set: dml (2)" in self.lines(*tuned)


class TestInABrowser:
    @pytest.fixture
    def page(self, results: Path, tmp_path: Path, chromium: Browser) -> Iterator[Browser]:
        report.write(Content.read(results), tmp_path / "r.html")
        chromium.resize(1280, 900)
        chromium.open((tmp_path / "r.html").as_uri())
        chromium.run("sessionStorage.clear()")
        chromium.open((tmp_path / "r.html").as_uri())
        yield chromium
        assert chromium.complaints() == []
        assert chromium.run("return document.title") == "okdbench report"
        assert chromium.run("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []

    def test_a_click_on_a_heading_sorts(self, page: Browser) -> None:
        column = "return [...document.querySelectorAll('#headline tbody tr')].map((row) => row.cells[{}].textContent)"
        assert page.run(column.format(0)) == list(METHODS)
        heading = "#headline thead th:nth-child({}) button"
        page.click(heading.format(1))
        assert page.run(column.format(0)) == sorted(METHODS)
        page.click(heading.format(2))
        descending = [float(text.split()[0]) for text in page.run(column.format(1))]
        assert descending == sorted(descending, reverse=True)
        page.click(heading.format(2))
        assert page.run(column.format(0)) == ["pcl", "dml", "independent"]
        assert page.run("return document.querySelector('#headline th:nth-child(2)').ariaSort") == "ascending"

    def test_the_legend_switches_methods(self, page: Browser) -> None:
        drawn = "return [...document.querySelectorAll('#chart path.line')].map((line) => line.dataset.row)"
        assert page.run(drawn) == list(METHODS)
        page.click("#legend button[data-row=dml]")
        assert page.run(drawn) == ["independent", "pcl"]
        assert page.run("return document.querySelector('#legend button[data-row=dml]').ariaPressed") == "false"
        page.click("#legend button[data-row=dml]")
        assert page.run(drawn) == list(METHODS)

    def test_other_metrics_are_drawn_and_the_pointer_reads_them(self, page: Browser) -> None:
        names = page.run("return [...document.querySelectorAll('#metric option')].map((o) => o.textContent)")
        assert {"student accuracy", "top1: ensemble", "nll: students", "distance: peers", "loss"} <= set(names)
        page.run(
            "const box = document.getElementById('metric');"
            "box.value = [...box.options].find((o) => o.textContent === 'distance: peers').value; box.onchange();"
            "const svg = document.querySelector('#chart svg'), at = svg.getBoundingClientRect();"
            "svg.dispatchEvent(new PointerEvent('pointermove', {clientX: at.right - 20, clientY: at.top + 50}));"
        )
        tip = page.run("return document.getElementById('tip').innerText")
        assert tip.splitlines()[0] == "epoch 20"
        assert "dml: 0.05 ± 0 (3)" in tip

    def test_the_choices_are_those_of_the_metrics(self, page: Browser) -> None:
        texts = "return [...document.querySelectorAll('{}')].map((one) => one.label)"
        assert page.run(texts.format("#metric optgroup")) == ["Accuracy", "Calibration", "Homogenisation", "Training"]
        offered = ("seconds", "trained-parameters", "training-multiply-adds")
        assert page.run(texts.format("#cost-key option")) == [COSTS[name].short for name in offered]
        assert page.run("return document.querySelectorAll('#scatter circle').length") == 3

    def test_a_run_shows_its_command(self, page: Browser) -> None:
        page.run("document.querySelector('tr[data-run^=pcl-digits-resnet8-s3] button').click()")
        command = page.run("return document.getElementById('command').textContent")
        assert command.startswith("bench run --methods pcl --dataset digits --backbone resnet8 --seeds 3,")
        assert "onerror" in page.run("return document.getElementById('details-body').textContent")
        assert page.run("return document.querySelectorAll('img').length") == 0

    def test_runs_are_found_by_words(self, page: Browser) -> None:
        page.run(
            "const f = document.getElementById('find'); f.value = 'pcl failed'; f.dispatchEvent(new Event('input'))"
        )
        assert page.run("return document.getElementById('found').textContent") == "1 of 10"

    def test_a_phone_shows_it_without_scrolling_sideways(self, page: Browser) -> None:
        page.resize(375, 700)
        page.wait("return [document.documentElement.scrollWidth, innerWidth]", [375, 375])
        page.run("document.querySelector('#run-table button.link').click()")
        assert page.run("return document.documentElement.scrollWidth") == 375
        assert page.run("return document.querySelector('dialog').getBoundingClientRect().width") <= 375


def test_a_watched_page_is_written_again_when_a_run_gets_on(
    tmp_path: Path, bench: Bench, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without runs there is a page too."""
    pages: list[str] = []

    def wait(_: float) -> None:
        pages.append((tmp_path / "r.html").read_text(encoding="utf-8"))
        if len(pages) == 3:
            raise KeyboardInterrupt
        # nothing is written where nothing has changed
        if len(pages) == 1:
            store_run(Store(tmp_path), config("dml", 0), 90)

    monkeypatch.setattr("benchmark.commands.reports.time.sleep", wait)
    (tmp_path / "runs").mkdir()
    answer = bench("report", "--watch", "--results", tmp_path, "--out", "r.html")
    assert answer.code == 130
    assert [line.partition(":")[2].split(",")[0] for line in answer.out.splitlines()] == [" 0 runs", " 1 runs"]
    assert "No runs yet" in pages[0]
    assert "1: 1 finished" in pages[1]
    assert pages[1] == pages[2]
    chromium.open((tmp_path / "r.html").as_uri())
    assert chromium.run("return document.querySelectorAll('#run-table tbody tr').length") == 1
    assert chromium.complaints() == []


# means and deviations of curves over runs


def test_equal_numbers_deviate_by_nothing() -> None:
    means, deviations = group_curves([{"epoch": 0, "loss": 0.05 / (1 - 0.5**20)}] * 3, (), {}, {})
    assert means["loss"][0] == pytest.approx(0.05 / (1 - 0.5**20), rel=1e-15)
    assert deviations["loss"][0] == 0


def test_runs_of_different_length_and_metrics() -> None:
    rows = [
        {"epoch": 0, "student": 10.0, "top1/peer0": 1.0, "top1/peer1": 3.0},
        {"epoch": 1, "student": 20.0, "top1/peer0": 2.0, "top1/peer1": 4.0},
        {"epoch": 0, "student": 30.0, "loss": 7.0},
    ]
    means, deviations = group_curves(rows, ["peer0", "peer1"], dict.fromkeys(("peer0", "peer1"), "peer"), {})
    assert means.index.tolist() == [0, 1]
    np.testing.assert_array_equal(means["student accuracy"], [20, 20])
    np.testing.assert_array_equal(means["top1: peers"], [2, 3])
    np.testing.assert_array_equal(means["loss"], [7, np.nan])
    np.testing.assert_allclose(deviations["student accuracy"], [200**0.5, np.nan])


def test_metrics_of_many_predictors_are_joined() -> None:
    names = ("epoch", "seconds", "student", "nll/peer0", "nll/peer1", "nll/teacher", "nll/ensemble", "loss/kl")
    roles: dict[str, Role] = {"peer0": "peer", "peer1": "peer", "teacher": "teacher", "ensemble": "ensemble"}
    assert joined(names, ["teacher"], roles, {}) == {
        "student accuracy": ["student"],
        "nll: students": ["nll/teacher"],
        "nll: peers": ["nll/peer0", "nll/peer1"],
        "nll: ensemble": ["nll/ensemble"],
        "loss: kl": ["loss/kl"],
    }
