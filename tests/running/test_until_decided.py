"""``bench run --until-decided``: what it adds, prints and remembers, with runs of a second."""

import re
from pathlib import Path

import pytest
import yaml

from benchmark import running, store
from benchmark.store import Store, environment
from tests.command_line import SMALL, Bench
from tests.tables.frames import put

LOOKS = ["--config", "small", "--baseline", "independent", "--seed-step", "3", "--max-seeds", "6"]


@pytest.fixture(autouse=True)
def small(tmp_path: Path) -> None:
    """``--config small``: runs of a second in this process."""
    (tmp_path / "small").write_text(yaml.safe_dump(SMALL), encoding="utf-8")


def stored(results: Path, methods: str, accuracies: dict[str, list[float]]) -> None:
    """Store finished runs of the small recipe with chosen accuracies, those of seeds 0, 1, 2 and so on."""
    # as runs that are carried out here: seeds are paired within an environment
    here = environment.versions() | {"hardware": environment.device_name("cpu")}
    layer = SMALL | {"methods": methods, "seeds": max(map(len, accuracies.values())), "results": str(results)}
    for run in running.prepare([layer]).runs:
        if run.seed < len(accuracies[run.method]):
            put(Store(results), run, accuracies[run.method][run.seed], here)


BASE = [70.0, 71.0, 69.0, 70.5, 70.2, 69.9]
CLEAR = [80.001, 81.002, 79.0, 80.5, 80.2, 79.9]
NOISY = [75.0, 60.0, 80.0, 61.0, 79.0, 66.0]


def seeds_of(results: Path) -> set[tuple[str, int]]:
    frame = store.load(results)
    return set(zip(frame["method"], frame["seed"], strict=True))


def test_it_stops_once_all_is_decided(bench: Bench, tmp_path: Path) -> None:
    stored(tmp_path / "results", "independent,dml", {"independent": BASE, "dml": CLEAR})
    answer = bench("run", "--methods", "independent,dml", "--until-decided", "0.5", *LOOKS)
    assert answer.code == 0
    assert "look at 3 seeds: 1 of 1 decided: dml better" in answer.out
    assert "look at 6 seeds" not in answer.out
    assert "better by at least 0.5 (at 3 seeds)" in answer.out
    # the other stored seeds have not been looked at
    assert "80.00 ± 1.00 (3)" in answer.out
    assert "looks at 3, 6 seeds at levels" in answer.out
    # whatever shows these runs later applies the plan
    assert "better by at least 0.5 (at 3 seeds)" in bench("table").out
    assert "p=" not in answer.out
    for words in (["report", "--out", "page.html"], ["site", "--out", "site"]):
        assert bench(*words).code == 0
    assert "better by at least 0.5 (at 3 seeds)" in (tmp_path / "page.html").read_text()
    assert "better by at least 0.5 (at 3 seeds)" in (tmp_path / "site/index.html").read_text()
    # elsewhere too
    assert bench("pack", "results", "--out", "b.tar.gz").code == 0
    assert bench("merge", "b.tar.gz", "--into", "there").code == 0
    assert "better by at least 0.5 (at 3 seeds)" in bench("table", "--results", "there").out


def test_a_second_plan_of_the_same_runs_is_said_wherever_they_are_shown(bench: Bench, tmp_path: Path) -> None:
    stored(tmp_path / "results", "independent,dml", {"independent": BASE[:5], "dml": CLEAR[:5]})
    words = ["run", "--methods", "independent,dml", "--until-decided", "0.5", *LOOKS]
    assert "3, 6 of at most" not in bench(*words).out
    again = bench(*words, "--max-seeds", "5")
    assert "3, 6 of at most 6 seeds" in again.out
    shown = bench("table", "--baseline", "independent").out
    for command in (["report", "--out", "page.html"], ["site", "--out", "site"]):
        assert bench(*command).code == 0
    for text in (shown, *((tmp_path / name).read_text() for name in ("page.html", "site/index.html"))):
        assert "3, 6 of at most 6 seeds" in text
        assert "3, 5 of at most 5 seeds" in text
        assert "better by at least" not in text.replace("better, worse by at least", "")


@pytest.mark.thorough
def test_it_adds_seeds_to_all_methods_alike_and_goes_on_where_it_was(bench: Bench, tmp_path: Path) -> None:
    results = tmp_path / "results"
    stored(results, "independent,dml,one", {"independent": BASE[:3], "dml": CLEAR[:3], "one": NOISY[:3]})
    words = ["run", "--methods", "independent,dml,one", "--until-decided", "0.5", *LOOKS]
    answer = bench(*words)
    assert answer.code == 0
    assert "look at 3 seeds: 1 of 2 decided: dml better" in answer.out
    assert re.search(r"look at 6 seeds: [12] of 2 decided: dml better", answer.out)
    # a decided method gets no more seeds
    assert seeds_of(results) == {(method, seed) for method in ("independent", "one") for seed in range(6)} | {
        ("dml", seed) for seed in range(3)
    }
    assert answer.out.count("started ") == 6
    again = bench(*words)
    assert "started " not in again.out
    assert _told(again.out) == _told(answer.out)
    # and a dry run says the same without any training
    planned = bench(*words, "--dry-run")
    assert _told(planned.out)[:2] == _told(answer.out)[:2]
    assert "at most: a look at 3, 6 seeds" in planned.out
    assert "18 runs, 15 finished already" in planned.out


def _told(out: str) -> list[str]:
    """The lines of the looks and the rows of the table."""
    return [line for line in out.splitlines() if line.startswith(("look at", "|"))]


def test_what_stays_open_says_so(bench: Bench, tmp_path: Path) -> None:
    stored(tmp_path / "results", "independent,dml", {"independent": BASE, "dml": NOISY})
    answer = bench("run", "--methods", "independent,dml", "--until-decided", "0.5", *LOOKS)
    assert answer.code == 0
    assert "look at 6 seeds: 0 of 1 decided\n" in answer.out
    assert "| undecided" in answer.out


def test_dry_run_carries_nothing_out(bench: Bench, tmp_path: Path) -> None:
    answer = bench("run", "--methods", "independent,dml", "--until-decided", "0.5", *LOOKS, "--dry-run")
    assert answer.code == 0
    assert "12 runs, 0 finished already" in answer.out
    assert not (tmp_path / "results/runs").exists()


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ("--until-decided 0 --baseline dml", "until-decided takes a difference above 0"),
        ("--until-decided 0.5", "name it, as in --baseline independent"),
        ("--until-decided 0.5 --baseline dml --seeds 3", "leave out --seeds"),
        ("--until-decided 0.5 --baseline dml --seed-step 2", "--seed-step takes a whole number from 3"),
        ("--until-decided 0.5 --baseline dml --max-seeds 4", "given: 5 of at most 4"),
        ("--until-decided 0.5 --baseline dml --max-seeds 303 --seed-step 3", "at most 100 looks (given: 101)"),
        ("--until-decided 0.5 --baseline dlm", "did you mean 'dml'? (valid: dml, independent)"),
        ("--until-decided 0.5 --baseline dml --methods dml", "there is nothing to compare dml with"),
        ("--until-decided 0.5 --baseline dml --set pcl.temperature=2", "'pcl' is not among the methods of this run"),
        ("--baseline dml", "belong to --until-decided"),
        ("--max-seeds 5", "belong to --until-decided"),
    ],
)
def test_bad_words(bench: Bench, words: str, fragment: str) -> None:
    methods = [] if "--methods" in words else ["--methods", "independent,dml"]
    bench("run", "--config", "small", *methods, *words.split()).assert_refused(fragment)
