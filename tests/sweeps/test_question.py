"""A sweep's question: its controls, the order in which it tries, and its answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, strategies as st
from rich.console import Console

from benchmark.store import Store
from benchmark.sweeps import plan as planning, sweeping
from benchmark.sweeps.outcomes import Outcome, Spread, answer, comparisons, detectable, expected_spread, outcome
from benchmark.sweeps.plan import Configuration, Sweep
from benchmark.sweeps.report import importances, noise_p, write_report
from methods.errors import InputError
from tests.command_line import Bench
from tests.tables.frames import put

FILE: dict[str, Any] = {
    "method": "dkel",
    "dataset": "digits",
    "backbone": "resnet8",
    "seeds": 3,
    "epochs": 1,
    "engine": "serial",
    "device": "cpu",
    "data": {"train_per_class": 10},
    "search": "grid",
    "space": {
        "ramp": ["intended", "none"],
        "decay": ["exp", "linear", "cosine", "constant", "none"],
        "decay_rate": {"values": [0.1, 1.0], "when": {"decay": "exp"}},
    },
    "controls": [{"decay": "none"}, {"decay": "constant"}],
    "question": {"key": "decay", "against": ["none"], "within": 0.5},
}
NO_QUESTION = {key: value for key, value in FILE.items() if key not in ("question", "controls")}
ASSUMED = Spread(0.5, "assumed")
NOISE = [(0.1, -0.2, 0.1), (0.0, 0.2, -0.2), (-0.1, 0.0, 0.1), (0.2, -0.1, -0.1), (0.1, 0.1, -0.2)]


def prepare(folder: Path, *words: str, file: Mapping[str, Any] = FILE, **given: Any) -> Sweep:
    path = folder / "asked.yaml"
    path.write_text(yaml.safe_dump(dict(file), sort_keys=False), encoding="utf-8")
    return planning.prepare(str(path), {"results": str(folder / "results"), **given}, {}, words)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The file's sweep, of which nothing is carried out."""
    return prepare(tmp_path_factory.mktemp("asked"))


def scored(sweep: Sweep, score: Callable[[Configuration, int], float]) -> list[Outcome]:
    """Every configuration with a score for each of its seeds."""
    return [Outcome(x, {seed: score(x, seed) for seed in sweep.seeds}) for x in sweep.listed()]


def noise(x: Configuration, seed: int, size: float = 1.0) -> float:
    """Of a tenth of a point, another one for each configuration."""
    return 80 + seed + size * NOISE[x.number % 5][seed % 3] * (1 + seed // 3 / 10)


class TestControls:
    def test_come_first_and_one_key_is_varied_before_two(self, tmp_path: Path) -> None:
        found = prepare(tmp_path).chosen()
        base = {"ramp": "intended", "decay": "exp", "decay_rate": 0.1}
        assert found[:3] == [{"ramp": "intended", "decay": "none"}, {"ramp": "intended", "decay": "constant"}, base]
        changed = [sum(value != base[key] for key, value in x.items()) for x in found[2:]]
        assert changed == sorted(changed)
        assert (changed[0], changed[-1], len(found)) == (0, 2, 12)
        # the question's key is varied before the rest
        assert {x["ramp"] for x in found[:5]} == {"intended"}
        assert {x["decay"] for x in found[:5]} == {"none", "constant", "exp", "linear", "cosine"}

    @given(seed=st.integers(0, 99), few=st.integers(1, 12), more=st.integers(1, 12))
    def test_a_larger_part_begins_with_a_smaller_one(self, asked: Sweep, seed: int, few: int, more: int) -> None:
        large = replace(asked, trials=few + more, search_seed=seed).chosen()
        assert replace(asked, trials=few, search_seed=seed).chosen() == large[:few]
        assert replace(asked, trials=few + more, search_seed=seed).chosen() == large

    def test_the_default_is_the_base_where_the_space_has_it(self, tmp_path: Path) -> None:
        file = FILE | {"dkel": {"ramp": "none"}, "space": {**FILE["space"], "weight": [1, 0.1]}}
        sweep = prepare(tmp_path, file=file, trials=3)
        assert [(x["ramp"], x["weight"]) for x in sweep.chosen()] == [("none", 0.1)] * 3
        ramp = prepare(tmp_path, "decay=[exp,none]", "decay_rate=[0.5] if decay=exp", "ramp=[none,intended]")
        assert ramp.listed()[0].assignment == {"decay": "none", "ramp": "intended"}

    def test_a_random_search_tries_them_too(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path, "weight=uniform(0,1)", search="random", trials=4)
        found = sweep.chosen()
        assert [x["decay"] for x in found[:2]] == ["none", "constant"]
        assert len(found) == 4
        assert prepare(tmp_path, "weight=uniform(0,1)", search="random", trials=3).chosen() == found[:3]

    def test_a_learning_search_begins_with_them(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path, search="optuna", trials=4, engine="ray")
        assert [x.assignment["decay"] for x in sweeping.known(sweep)] == ["none", "constant"]
        added = sweeping.record(sweep, {"ramp": "none", "decay": "linear"})
        assert [x.number for x in sweeping.known(sweep)] == [1, 2, 3]
        assert added.number == 3

    def test_those_that_the_command_line_removes_are_not_missed(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path, "decay=[exp,linear,constant]")
        assert sweep.chosen()[0]["decay"] == "constant"
        assert sweep.question is None

    @pytest.mark.parametrize(
        ("keys", "facts"),
        [
            ({"controls": [{"decay": "nnone"}]}, ["controls", "decay=nnone"]),
            ({"controls": [{"decai": "none"}]}, ["did you mean 'decay'"]),
            ({"controls": {"decay": "none"}}, ["controls", "list"]),
            ({"controls": [{"decay_rate": 0.1}]}, ["controls", "decay_rate=0.1"]),
            ({"question": "decay"}, ["question", "'decay'"]),
            ({"question": {"key": "decay"}}, ["question.against"]),
            ({"question": {"key": "decay", "against": []}}, ["question.against"]),
            ({"question": {"key": "decay", "against": "nnone"}}, ["question.against", "decay=nnone"]),
            ({"question": {"key": "decay", "against": "none", "withn": 1}}, ["did you mean 'within'"]),
            ({"question": {"key": "decay", "against": "none", "within": 0}}, ["question.within", "0"]),
            ({"question": {"key": "decay", "against": "none", "within": "a"}}, ["question.within", "'a'"]),
        ],
    )
    def test_what_is_none_is_refused_on_one_line(self, tmp_path: Path, keys: dict[str, Any], facts: list[str]) -> None:
        with pytest.raises(InputError) as caught:
            prepare(tmp_path, file=FILE | keys)
        assert [fact for fact in facts if fact not in str(caught.value)] == []
        assert "\n" not in str(caught.value)


class TestAnswer:
    def asked(self, folder: Path, **given: Any) -> Sweep:
        return prepare(folder, "ramp=[intended]", "decay_rate=[0.1] if decay=exp", **given)

    def said(self, sweep: Sweep, effect: Callable[[Mapping[str, Any]], float] = lambda _: 0, size: float = 1.0) -> str:
        """What a sweep answers whose configurations have an effect each."""
        return answer(sweep, scored(sweep, lambda x, seed: noise(x, seed, size) + effect(x.assignment)), ASSUMED)

    @pytest.mark.parametrize(("effect", "word"), [(2, "better"), (-2, "worse")])
    def test_names_the_difference_and_its_size(self, tmp_path: Path, effect: int, word: str) -> None:
        said = self.said(self.asked(tmp_path, seeds=6), lambda x: effect * (x["decay"] == "linear"))
        assert said.startswith(f"decay=linear is {word} than decay=none by ")
        assert "4 comparisons" in said
        assert "exp" not in said.partition(";")[0]

    def test_a_verdict_does_not_depend_on_which_other_configurations_have_finished(self, tmp_path: Path) -> None:
        sweep = self.asked(tmp_path, seeds=6)
        every = scored(sweep, lambda x, s: noise(x, s) + 2 * (x.assignment["decay"] == "linear"))
        part = [replace(x, scores={}) if x.configuration.assignment["decay"] == "cosine" else x for x in every]
        said = [answer(sweep, outcomes, ASSUMED).partition(";")[0] for outcomes in (every, part)]
        assert said[0] == said[1]
        assert "0.05 / 4" in said[0]

    def test_states_the_bound_that_no_difference_exceeds(self, tmp_path: Path) -> None:
        said = self.said(self.asked(tmp_path, seeds=12))
        assert said.startswith("no decay differs from none by more than 0.")
        assert 0 < float(said.partition("more than ")[2].split()[0]) <= 0.5
        assert "4 comparisons" in said

    def test_says_how_many_seeds_would_decide(self, tmp_path: Path) -> None:
        said = self.said(self.asked(tmp_path, seeds=3), size=5)
        assert said.startswith("undecided: ")
        assert int(said.split()[1]) > 3
        assert "0.5 points" in said
        # one or two decide nothing
        for seeds in (1, 2):
            few = self.asked(tmp_path, seeds=seeds)
            said = answer(few, scored(few, lambda x, s: noise(x, s) + x.number), ASSUMED)
            assert said.startswith("undecided: ")
            assert "0.50 points (assumed)" in said
        none = [Outcome(x, {}) for x in few.listed()]
        assert answer(few, none, ASSUMED).startswith("undecided: 0 of 5 configurations")

    def test_compares_like_with_like(self, tmp_path: Path) -> None:
        """What the ramp alone changes is no difference of the decay."""
        sweep = prepare(tmp_path, seeds=12)
        assert comparisons(sweep, sweep.listed()) == 2 * 5
        assert self.said(sweep, lambda x: 30 * (x["ramp"] == "none")).startswith("no decay differs from none by more")
        assert "with ramp=none" in self.said(sweep, lambda x: 3 * (x == {"ramp": "none", "decay": "cosine"}))

    def test_two_references_are_compared_once(self, tmp_path: Path) -> None:
        file = FILE | {"question": {"key": "decay", "against": ["none", "constant"]}}
        sweep = prepare(tmp_path, "ramp=[intended]", "decay_rate=[1.0] if decay=exp", file=file)
        assert comparisons(sweep, sweep.listed()) == 2 * 3 + 1

    def test_without_a_question_the_best_is_compared_with_the_default(self, tmp_path: Path) -> None:
        file = NO_QUESTION | {"space": {"temperature": [1.0, 3.0, 5.0]}}
        sweep = prepare(tmp_path, file=file, seeds=6)
        assert sweep.value_of(sweep.base, "temperature") == 3.0
        said = self.said(sweep, lambda x: x["temperature"])
        assert said.startswith("the best, temperature=5, is better than the default, temperature=3, by 2.")
        alike = self.said(sweep, size=5)
        assert alike.startswith("undecided: ")
        assert "whether the best" in alike
        best = self.said(sweep, lambda x: 5 * (x["temperature"] == 3.0))
        assert best.startswith("the best, temperature=3, is better than the second, ")

    def test_equal_accuracies_and_seeds_that_are_not_shared(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path, file=NO_QUESTION | {"space": {"temperature": [1.0, 5.0]}}, seeds=4)
        assert "equal with every seed" in answer(sweep, scored(sweep, lambda x, s: 80.0 + s), ASSUMED)
        one, other = scored(sweep, noise)
        apart = [replace(one, scores={0: 80.0}), replace(other, scores={1: 81.0})]
        assert "no seed in common" in answer(sweep, apart, ASSUMED)

    def test_the_best_is_better_only_where_it_is_better_than_every_other(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path, file=NO_QUESTION | {"space": {"temperature": [1.0, 4.0, 5.0]}}, seeds=6)
        best, second, third = scored(sweep, noise)
        high = replace(best, scores={seed: 84.0 + seed for seed in sweep.seeds})
        near = replace(second, scores={seed: 83.0 + seed + 0.1 * (seed % 2) for seed in sweep.seeds})
        wild = replace(third, scores={seed: 83.0 + seed + 5 * (-1) ** seed for seed in sweep.seeds})
        said = answer(sweep, [high, near, wild], ASSUMED)
        assert said.startswith("undecided")
        assert wild.configuration.label in said


class TestDetectable:
    def test_more_seeds_detect_smaller_differences(self, tmp_path: Path) -> None:
        said = [detectable(prepare(tmp_path, seeds=seeds), 4, ASSUMED) for seeds in (1, 2, 3, 8)]
        assert ["seed noise" in line for line in said] == [True, True, False, False]
        points = [float(line.partition("about ")[2].split()[0]) for line in said[2:]]
        assert points[0] > points[1] > 0.5

    def test_the_spread_is_that_of_the_runs_so_far(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path)
        assert expected_spread([outcome(sweep, x) for x in sweep.listed()]) == ASSUMED
        one, other = sweep.listed()[:2]
        store = Store(tmp_path / "results")
        for run, accuracy in zip((*one.runs, *other.runs), (70, 71, 72, 71, 73, 75), strict=True):
            put(store, run, accuracy)
        found = expected_spread([outcome(sweep, x) for x in sweep.listed()])
        assert found.sd == pytest.approx(1)
        assert found.source.startswith("of 6 ")
        assert expected_spread([outcome(sweep, one)]) == ASSUMED


class TestImportance:
    @pytest.mark.parametrize(("seeds", "why"), [(3, "seed noise"), (1, "one seed")])
    def test_seed_noise_is_no_importance(self, tmp_path: Path, seeds: int, why: str) -> None:
        sweep = prepare(tmp_path, seeds=seeds)
        found = importances(sweep, scored(sweep, noise))
        assert not found.shares
        assert why in found.how

    def test_for_two_configurations_it_is_the_paired_t_test(self) -> None:
        from scipy.stats import ttest_rel

        ours, others = [1.0, 2.5, 2.0, 4.2], [0.7, 2.0, 2.1, 3.0]
        tables = [dict(enumerate(ours)), dict(enumerate(others)) | {9: 3.0}]
        assert noise_p(tables) == pytest.approx(ttest_rel(ours, others).pvalue)
        assert noise_p([{0: 1.0, 1: 2.0}, {1: 1.0, 2: 4.0}]) is None
        assert noise_p([{0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}]) == 0
        assert noise_p([{0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}]) == 1

    def test_noise_alone_is_found_significant_as_often_as_the_level_says(self) -> None:
        samples = np.random.default_rng(0).normal(size=(1000, 5, 3)) + np.arange(3)
        found = [noise_p([dict(enumerate(row)) for row in sample]) for sample in samples]
        assert np.mean([p is not None and p < 0.05 for p in found]) == pytest.approx(0.05, abs=0.02)


class TestReport:
    def test_every_comparison_of_the_question_has_its_interval_and_verdict(self, tmp_path: Path) -> None:
        from scipy.stats import ttest_rel

        file = FILE | {"question": {"key": "decay", "against": ["none", "constant"]}}
        sweep = prepare(tmp_path, "ramp=[intended]", "decay_rate=[0.1] if decay=exp", file=file, seeds=5)
        outcomes = scored(sweep, lambda x, s: noise(x, s) + 3 * (x.assignment["decay"] == "linear"))
        write_report(sweep, outcomes, Console(quiet=True))
        page = (sweep.folder / "README.md").read_text()
        lines = page.split("| compared with")[1].split("\n\n")[0].splitlines()[2:]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        scores = {x.configuration.assignment["decay"]: [*x.scores.values()] for x in outcomes}
        assert len(rows) == 7
        for name, other, difference, verdict, seeds in rows:
            ours, theirs = (scores[x.removeprefix("decay=").partition(",")[0]] for x in (name, other))
            low, high = ttest_rel(ours, theirs).confidence_interval(1 - 0.05 / 7)
            shown = [float(x) for x in difference.replace(",", "").replace("[", "").strip("]").split()]
            assert shown == pytest.approx([np.mean(ours) - np.mean(theirs), low, high], abs=0.0051)
            sides = [("better by at least 0.5", low > 0.5), ("better", low > 0), ("worse by at least 0.5", high < -0.5)]
            sides += [("worse", high < 0), ("equivalent", max(-low, high) < 0.5), ("undecided", True)]
            assert (verdict, seeds) == (next(word for word, holds in sides if holds), "5")
        assert {"better by at least 0.5", "undecided"} <= {row[3] for row in rows}

    def test_the_answer_is_the_first_line_and_progress_names_the_configuration(
        self, tmp_path: Path, bench: Bench
    ) -> None:
        (tmp_path / "asked.yaml").write_text(yaml.safe_dump(FILE, sort_keys=False))
        said = bench("sweep", "asked.yaml", "--trials", "3", "--seeds", "1", "--results", "results/here").out
        assert "9 of the grid's 12" in said
        for label in ("ramp=intended, decay=none", "ramp=intended, decay=constant"):
            assert f"started   dkel digits resnet8 seed 0 [{label}]" in said
            assert f"finished  dkel digits resnet8 seed 0 [{label}]" in said
        result = said.partition("3 of 3)\n")[2].lstrip()
        first = result.splitlines()[0]
        assert first.startswith("undecided: ")
        assert "| total epochs" in result
        assert "| difference to best" in result
        # a page that is committed names no folder of this machine
        assert str(tmp_path) not in result
        folder = tmp_path / "results/here/sweeps/asked-digits"
        assert (folder / "README.md").read_text().splitlines()[0] == first
        assert list(pd.read_csv(folder / "configurations.csv")["total_epochs"]) == [1, 1, 1]
        assert not (folder / "importance.csv").exists()
        assert said.index("seed noise") < said.index("started")

    def test_the_plan_says_which_difference_is_detectable(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sweep = prepare(tmp_path, trials=4)
        # a run is named by its own configuration
        assert all(sweep.label(run) == f"{run.label} [{x.label}]" for x in sweep.listed() for run in x.runs)
        sweeping.print_plan(sweep, Console(width=300))
        said = capsys.readouterr().out
        assert "8 of the grid's 12" in said
        assert "3 seeds" in said
