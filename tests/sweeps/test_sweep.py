"""Sweeps: what is tried, never repeated, stopped, and written."""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from rich.console import Console

from benchmark import datasets, running
from benchmark.configuration import recipes
from benchmark.configuration.planning import Request, layer_from_file, plan
from benchmark.configuration.run_config import DataConfig
from benchmark.store import Status, Store
from benchmark.sweeps import plan as planning, sweeping
from benchmark.sweeps.outcomes import Outcome, complete, outcome, ranked
from benchmark.sweeps.plan import Sweep
from benchmark.sweeps.report import importances
from benchmark.sweeps.space import described
from methods.errors import InputError
from tests.command_line import Bench

FILE = {
    "description": "Small",
    "method": "dkel",
    "dataset": "digits",
    "backbone": "resnet8",
    "seeds": 2,
    "epochs": 3,
    "engine": "serial",
    "device": "cpu",
    "data": {"train_per_class": 10},
    "train": {"batch_size": 40},
    "search": "grid",
    "space": {"decay": ["exp", "none"], "decay_rate": {"values": [0.1, 1.0], "when": {"decay": "exp"}}},
}
QUIET = Console(quiet=True)
SWEEPS = [name for name in recipes.available() if name.startswith("sweeps/")]


def prepare(folder: Path, *words: str, **given: Any) -> Sweep:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(FILE), encoding="utf-8")
    return planning.prepare(str(path), {"results": str(folder / "results"), **given}, {}, words)


def outcomes(sweep: Sweep) -> list[Outcome]:
    return [outcome(sweep, configuration) for configuration in sweeping.known(sweep)]


def stored(sweep: Sweep) -> dict[str, float]:
    """Every run's folder and when its metrics were written last."""
    return {path.parent.name: path.stat().st_mtime for path in sweep.command.store.runs.glob("*/metrics.jsonl")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The whole grid with two seeds."""
    sweep = prepare(tmp_path_factory.mktemp("swept"))
    assert sweeping.carry_out(sweep, QUIET)
    return sweep


class TestFiles:
    @pytest.mark.parametrize("name", SWEEPS)
    def test_every_sweep_has_configurations(self, name: str) -> None:
        sweep = planning.prepare(name, {}, {})
        assert len(sweep.listed()) > 1, "one configuration compares nothing"
        assert all(run.split == "validation" for x in sweep.listed() for run in x.runs)

    def test_decay_has_every_shape_under_both_ramps(self) -> None:
        found = [x.assignment for x in planning.prepare("decay", {}, {}).listed()]
        assert len({(x["decay"], x["ramp"]) for x in found}) == 12

    def test_decay_paper_is_the_papers_own_ablation(self) -> None:
        assert len(planning.prepare("decay_paper", {}, {}).listed()) == 25

    def test_a_sweep_is_no_recipe_of_runs(self, bench: Bench) -> None:
        bench("run", "--config", "sweeps/decay").assert_refused("bench sweep sweeps/decay")


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "facts"),
        [
            (["--method", "dkel", "--space", "decay_rat=[1]"], ["did you mean 'decay_rate'"]),
            (["--method", "dkel", "--space", "decay_rate=uniform(-1,1)"], ["dkel.decay_rate"]),
            (["--method", "dkel", "--space", "decay=[exp,expp]"], ["dkel.decay"]),
            (["--method", "dkel", "--space", "lr=[1]"], ["train.lr"]),
            (["--method", "dkel", "--space", "train.lrr=[1]"], ["did you mean 'lr'"]),
            (["--method", "dkel", "--space", "data.holdout=[0.1]"], ["data.pad", "data.flip", "data.crop"]),
            (["--method", "dkel", "--space", "weight=[1]", "--set", "dkel.weight=2"], ["dkel.weight", "--set"]),
            (["--method", "dkel", "--space", "weight=[1]", "--set", "data.holdout=0"], ["data.holdout", "above 0"]),
            (["--method", "dkel", "--space", "weight=[1]", "--dataset", "digits,cifar10"], ["one dataset"]),
            (
                ["--method", "dkel", "--space", "weight=uniform(0,1)", "--search", "grid"],
                ["weight is uniform(0, 1)", "random or optuna"],
            ),
            (["--method", "dkel", "--space", "weight=[1]", "--search", "grit"], ["did you mean 'grid'"]),
            (["--method", "dkel", "--space", "weight=[1]", "--scheduler", "ashe"], ["did you mean 'asha'"]),
            (["--method", "dkel", "--space", "weight=[1]", "--trials", "0"], ["trials", "from 1 to"]),
            (["--method", "dkel", "--space", "weight=[1]", "--scheduler", "asha", "--engine", "serial"], ["Ray"]),
            (["--method", "dkel"], ["--space"]),
            (["--space", "weight=[1]"], ["--method", "dkel"]),
            (["--method", "dkle", "--space", "weight=[1]"], ["did you mean 'dkel'"]),
            (["decai"], ["'decai'"]),
            (["demo"], ["'space'", "bench run --config demo"]),
        ],
    )
    def test_one_line_and_exit_code_2(self, bench: Bench, tmp_path: Path, words: list[str], facts: list[str]) -> None:
        bench("sweep", *words).assert_refused(*facts)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
class TestSweep:
    def test_writes_tables_figures_and_the_best(self, swept: Sweep) -> None:
        names = {path.name for path in swept.folder.iterdir()}
        # importance is there or not by what the networks have learnt
        shared = importances(swept, outcomes(swept)).shares
        assert names == {
            *(
                "configurations.svg",
                "configurations.png",
                "README.md",
                "best.yaml",
                "configurations.csv",
                "runs.csv",
                *["importance.csv"] * bool(shared),
            ),
        }
        table = pd.read_csv(swept.folder / "configurations.csv")
        assert list(table["n"]) == [2, 2, 2]
        assert list(table["mean"]) == sorted(table["mean"], reverse=True)
        assert list(table["total_epochs"]) == [6, 6, 6]
        assert set(table["status"]) == {"2 finished"}
        runs = pd.read_csv(swept.folder / "runs.csv")
        assert table["mean"].max() == pytest.approx(runs.groupby("configuration")["accuracy"].mean().max())

    def test_asked_again_it_runs_nothing(self, swept: Sweep, bench: Bench) -> None:
        before = stored(swept)
        file = swept.command.store.root.parent / "small.yaml"
        answer = bench("sweep", str(file), "--results", str(swept.command.store.root), "--out", "elsewhere")
        assert answer.code == 0
        assert "3 configurations, 6 runs, 0 new" in answer.out
        assert "| validation accuracy" in answer.out
        assert stored(swept) == before
        assert Path("elsewhere/best.yaml").is_file()

    def test_the_best_runs_as_it_is_on_the_test_set(self, swept: Sweep, bench: Bench) -> None:
        path = swept.folder / "best.yaml"
        content = yaml.safe_load(path.read_text())
        winner = ranked(outcomes(swept))[0].configuration
        assert content["dkel"] == winner.runs[0].hyperparameters
        runs = plan(Request([layer_from_file(str(path)), {}]), datasets)
        assert [run.split for run in runs] == ["test", "test"]
        assert [run.model_copy(update={"data": winner.runs[0].data}).identity for run in runs] == [
            run.identity for run in winner.runs
        ]
        answer = bench("run", "--config", str(path), "--engine", "serial", "--seeds", "1", "--results", "test")
        assert answer.code == 0
        assert "| dkel" in answer.out

    def test_more_seeds_for_the_best_repeat_nothing(self, swept: Sweep, tmp_path: Path) -> None:
        before = stored(swept)
        first = ranked(outcomes(swept))[0].configuration.label
        folder = swept.command.store.root.parent
        more = prepare(folder, seeds=3)
        assert sweeping.carry_out(more, QUIET, best=1)
        assert {name: stored(more)[name] for name in before} == before
        assert len(stored(more)) == len(before) + 1
        assert {x.configuration.label: x.n for x in outcomes(more)}[first] == 3
        assert ranked(outcomes(more))[0].configuration.label == first

    def test_best_of_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="--best"):
            sweeping.carry_out(prepare(tmp_path), QUIET, best=3)

    def test_plan_says_what_is_done(self, swept: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
        sweeping.print_plan(swept, Console(width=200))
        assert capsys.readouterr().out.count("(2 of 2 seeds done)") == 3

    def test_remarks_are_printed_once_with_their_configurations(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path, "ramp=[released, none]", "decay=[cosine]")
        sets = running.load_sets(sweep.command, [sweep.base])
        lines = sweeping.notes(sweep, sweep.listed(), sets)
        [inactive] = [line for line in lines if "teacher_ensemble_distillation" in line]
        assert inactive.endswith(("[ramp=released, decay=cosine]", "[decay=cosine, ramp=released]"))
        [horizon] = [line for line in lines if "ema_decay" in line]
        assert horizon.endswith("[all configurations]")

    def test_test_images_are_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("train/cat", "train/dog"):
            folder = tmp_path / "photos" / name
            folder.mkdir(parents=True)
            for index in range(6):
                pixels = np.random.default_rng(index).integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
        asked: list[float] = []
        load = datasets.load

        def recorded(name: str, config: DataConfig, root: Path, plugins: Sequence[str] = ()) -> datasets.Dataset:
            asked.append(config.holdout)
            return load(name, config, root, plugins)

        monkeypatch.setattr(datasets, "load", recorded)
        given = {"dataset": f"folder:{tmp_path / 'photos'}", "data_root": str(tmp_path / "data"), "epochs": 1}
        path = tmp_path / "photos.yaml"
        path.write_text(yaml.safe_dump({**FILE, "data": {"holdout": 0.34}, "seeds": 1}), encoding="utf-8")
        sweep = planning.prepare(str(path), {"results": str(tmp_path / "results"), **given}, {})
        assert sweeping.carry_out(sweep, QUIET)
        assert asked == [0.34]
        with pytest.raises(InputError, match="test"):
            plan(Request([layer_from_file(str(sweep.folder / "best.yaml")), {}]), datasets)


class TestOutcomes:
    def made(self, sweep: Sweep, scores: dict[int, float], number: int) -> Outcome:
        configuration = sweep.numbered(sweep.space.grid())[number]
        return Outcome(configuration, scores)

    def test_a_lucky_seed_does_not_win(self, tmp_path: Path) -> None:
        sweep = prepare(tmp_path)
        lucky, steady = self.made(sweep, {0: 99.0}, 0), self.made(sweep, {0: 90.0, 1: 91.0}, 1)
        assert ranked([lucky, self.made(sweep, {}, 2), steady])[0] is steady

    def test_importance_finds_what_matters(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        sweep = prepare(tmp_path, "decay_rate=[0.1,0.5,1.0] if decay=exp", "temperature=[1.0,2.0,3.0]")
        values = [
            Outcome(x, scores)
            for x in sweep.listed()
            for scores in [{seed: 10 * x.assignment["temperature"] + seed for seed in (0, 1)}]
        ]
        found = importances(sweep, values)
        shares = {key: share.value for key, share in found.shares.items()}
        assert next(iter(shares)) == "temperature"
        assert shares["temperature"] > 0.9
        assert shares["seed"] > max(shares["decay"], shares["decay_rate"])
        assert sum(shares.values()) == pytest.approx(1)
        assert all(0 <= share.low <= share.value <= share.high <= 1 for share in found.shares.values())
        monkeypatch.setattr("benchmark.sweeps.report.find_spec", lambda name: None)
        assert "okdbench[sweep]" in importances(sweep, values).how


@pytest.mark.thorough
@pytest.mark.timeout(900)
class TestUnderRay:
    """Each once, with Ray."""

    def test_optuna_resumes_and_repeats_nothing(self, tmp_path: Path) -> None:
        word = "weight=loguniform(0.01,1)"
        sampled = prepare(tmp_path, word, search="random", trials=2, epochs=1)
        assert sweeping.carry_out(sampled, QUIET)
        sweep = prepare(tmp_path, word, search="optuna", trials=3, engine="ray", epochs=1)
        for x in sampled.listed():
            sweeping.record(sweep, x.assignment)
        before, first = stored(sweep), outcomes(sweep)
        assert [x.n for x in first] == [2, 2]
        assert new_runs(sweep) == 1
        # an interrupted search resumes with what it had chosen
        run = first[1].configuration.runs[0]
        (sweep.command.store.folder(run) / "result.json").unlink()
        assert sweeping.carry_out(sweep, QUIET)
        after = outcomes(sweep)
        assert [x.configuration.label for x in after[:2]] == [x.configuration.label for x in first]
        assert [x.n for x in after] == [2, 2, 2]
        assert len(stored(sweep)) == len(before) + 2
        again = {name for name, time in before.items() if stored(sweep)[name] != time}
        assert again == {sweep.command.store.folder(run).name}
        record = json.loads((sweep.folder / sweeping.RECORD).read_text())
        assert [described(x) for x in record["assignments"]] == [x.configuration.label for x in after]
        assert new_runs(sweep) == 0

    def test_asha_stops_and_stopped_runs_can_be_resumed(self, tmp_path: Path) -> None:
        # several rates with which nothing is learned: the first to reach a rung is never stopped
        words = ("train.lr=[0.2,0.05,1e-9,2e-9]", "decay=[none]")
        sweep, told = prepare(tmp_path, *words, scheduler="asha", engine="ray"), StringIO()
        assert sweeping.carry_out(sweep, Console(file=told, width=400))
        for x in sweep.listed():
            assert f"started   {x.runs[0].label} [{x.label}]" in told.getvalue()
        store = sweep.command.store
        found = [store.result(run) for x in sweep.listed() for run in x.runs]
        stopped = [x for x in outcomes(sweep) if not x.n]
        assert stopped
        assert all(result and result.status in (Status.FINISHED, Status.STOPPED) for result in found)
        assert all("2 stopped: stopped at epoch" in x.status for x in stopped)
        table = pd.read_csv(sweep.folder / "configurations.csv")
        assert table["status"].str.contains("stopped at epoch").sum() == len(stopped)
        assert new_runs(sweep) == 0
        # a sweep without it resumes from the checkpoints, and the numbers are those of runs that were never stopped
        onward = prepare(tmp_path, *words)
        assert sweeping.carry_out(onward, QUIET)
        assert all(x.n == 2 for x in outcomes(onward))
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        alone = prepare(fresh, *words)
        runs = [run for x in stopped for run in x.configuration.runs]
        ends = running.train(alone.command, runs, running.load_sets(alone.command, runs), QUIET)
        assert {end.status for end in ends} == {Status.FINISHED}
        for run in runs:
            assert metrics(alone.command.store, run) == metrics(store, run)


def metrics(store: Store, run: Any) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if "second" not in key} for row in store.metrics(run)]


def new_runs(sweep: Sweep) -> int:
    configurations = sweeping.known(sweep)
    missing = sum(not complete(sweep, run) for x in configurations for run in x.runs)
    return missing + sweeping.new_configurations(sweep, configurations)
