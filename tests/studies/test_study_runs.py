"""``bench study``: its options, and the studies that are made of training runs."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from benchmark import store, studies
from benchmark.configuration import recipes
from benchmark.studies import ablation, homogeneity, runs, subsets
from methods.errors import InputError
from tests.command_line import Bench

FILE = {
    "description": "for tests",
    "dataset": "digits",
    "backbone": "resnet8",
    "data": {"test_per_class": 5},
    "reference": {"name": "both", "method": "dkel"},
    "cases": [
        {"name": "PCL", "method": "pcl"},
        {"factor": "rate", "name": "0.5", "method": "dkel"},
        {"factor": "rate", "name": "1.0", "method": "dkel", "set": {"decay_rate": 1.0}},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cases.yaml``, and with the runs of every test here."""
    root = tmp_path_factory.mktemp("studies")
    (root / "cases.yaml").write_text(yaml.safe_dump(FILE), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def tiny(folder: Path) -> dict[str, Any]:
    """The settings of small studies whose runs are in the folder."""
    places = {"cases": str(folder / "cases.yaml"), "results": str(folder)}
    return {"epochs": 2, "seeds": 2, "train_per_class": 3, "engine": "serial", "device": "cpu", **places}


@pytest.fixture(scope="module")
def found(tiny: dict[str, Any]) -> studies.Report:
    return homogeneity.run(homogeneity.Settings(**tiny))


class TestCommand:
    @pytest.mark.thorough
    def test_geometry_writes_a_page_and_its_command(self, bench: Bench, tmp_path: Path) -> None:
        words = ["--samples", 7, "--steps=120", "--noise", "5e-1", "--out", tmp_path]
        answer = bench("study", "geometry", *words)
        assert answer.code == 0
        errors = pd.read_csv(tmp_path / "geometry.csv")[["separation_error", "coupling_error"]]
        assert errors.to_numpy().max() <= 1e-9
        assert "`bench study geometry --samples 7 --steps 120 --noise 0.5`" in answer.out
        assert "separation_at_0" in answer.out
        for name in ("geometry.svg", "geometry.png", "geometry.csv", "README.md"):
            assert str(tmp_path / name) in answer.out
            assert (tmp_path / name).stat().st_size > 0

    @pytest.mark.parametrize(
        ("words", "facts"),
        [
            ("geometri", ["'geometri'", "did you mean 'geometry'", "ablation"]),
            ("geometry --nois 1", ["--noise"]),
            ("geometry --noise=-1", ["geometry.noise", "0", "-1"]),
            ("geometry --samples many", ["geometry.samples", "'many'"]),
            ("geometry --ramp sideways", ["geometry.ramp", "'intended', 'released' or 'none'"]),
            ("homogeneity --seeds 1", ["homogeneity.seeds"]),
            ("homogeneity --cases studies/homogenity", ["'studies/homogenity'"]),
            ("homogeneity --cases demo", ["cases.reference"]),
            ("ablation --engine fast", ["engine", "'fast'"]),
        ],
    )
    def test_a_bad_word_is_answered_on_one_line(self, bench: Bench, words: str, facts: list[str]) -> None:
        bench("study", *words.split()).assert_refused(*facts)

    @pytest.mark.parametrize("name", studies.STUDIES)
    def test_every_setting_is_an_option(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        assert name in bench("study", "--help").out
        answer = bench("study", name, "--help")
        assert answer.code == 0
        for field, info in studies.find(name).Settings.model_fields.items():
            assert f"--{field.replace('_', '-')} " in answer.out
            assert info.description, field
            assert not info.is_required(), field
            # a range, or a choice of words
            assert info.metadata or get_args(info.annotation), field


class TestCases:
    @pytest.mark.parametrize("name", ["homogeneity", "ablation", "subsets"])
    def test_files_that_come_with_the_studies(self, name: str, tmp_path: Path) -> None:
        assert f"studies/{name}" not in recipes.available()
        settings = studies.find(name).Settings.model_validate({"results": str(tmp_path)})
        assert isinstance(settings, runs.TrainingSettings)
        file = runs.read_cases(settings.cases)
        command, of_case = runs.plan(settings, file)
        assert {len(mine) for mine in of_case.values()} == {settings.seeds}
        identities = [run.identity for run in command.runs]
        assert len(set(identities)) == len(identities)
        assert [run.seed for run in command.runs] == sorted(run.seed for run in command.runs)
        assert {run.train.diagnostics_every for run in command.runs} == {1}

    def test_settings_give_way_to_a_case_of_its_own(self, tmp_path: Path) -> None:
        settings = homogeneity.Settings(seeds=2, ramp="none", ema_decay=0.5, results=str(tmp_path))
        _, of_case = runs.plan(settings, runs.read_cases(settings.cases))
        assert of_case["PCL (weight 1)"][0].hyperparameters["ramp"] == "none"
        assert of_case["PCL (weight 1)"][0].hyperparameters["ema_decay"] == 0.5
        assert of_case["DKEL as released (weight 0.1)"][0].hyperparameters["ramp"] == "released"

    @pytest.mark.parametrize(
        ("change", "fragment"),
        [
            ({"cases": [{"name": "both", "method": "pcl"}]}, "two cases 'both'"),
            ({"cases": [{"name": "x", "method": "dkle"}]}, "did you mean 'dkel'"),
            ({"cases": [{"name": "x", "method": "dkel", "set": {"decay_rat": 1}}]}, "did you mean 'decay_rate'"),
            ({"cases": []}, "cases.cases"),
            ({"case": []}, "did you mean 'cases'"),
        ],
    )
    def test_a_file_with_a_mistake_is_refused(self, tmp_path: Path, change: dict[str, object], fragment: str) -> None:
        path = tmp_path / "wrong.yaml"
        path.write_text(yaml.safe_dump({**FILE, **change}), encoding="utf-8")
        with pytest.raises(InputError, match=fragment):
            homogeneity.run(homogeneity.Settings(seeds=2, cases=str(path), results=str(tmp_path)))


@pytest.mark.thorough
class TestHomogeneity:
    @pytest.mark.parametrize(("count", "number"), [(0, 3), (3, 3), (4, 12)])
    def test_exact_interval_is_clopper_and_pearsons(self, count: int, number: int) -> None:
        low, high = homogeneity.exact_interval(count, number)
        assert low == pytest.approx(stats.beta.ppf(0.025, count, number - count + 1) if count else 0.0)
        assert high == pytest.approx(stats.beta.ppf(0.975, count + 1, number - count) if count < number else 1.0)

    def test_counts_have_an_interval_and_homogenisation_is_followed(self, found: studies.Report) -> None:
        table, curves = found.tables["homogeneity"], found.tables["curves"]
        assert table["case"].tolist() == ["both", "PCL", "rate: 0.5", "rate: 1.0"]
        assert (table["runs"] == 2).all()
        assert (table["share"] == table["collapsed"] / 2).all()
        assert table["share"].between(table["share_low"], table["share_high"]).all()
        assert table["p_value"].between(0, 1).all()
        assert (table.loc[0, ["only_this_collapsed", "only_reference_collapsed"]] == 0).all()
        assert set(curves["measure"]) == set(homogeneity.MEASURES)
        assert set(curves["epoch"]) == {1, 2}
        assert (curves["runs"] == 2).all()
        # two runs have no interval
        assert curves["low"].isna().all()
        assert (curves["mean"] >= 0).all()

    def test_what_counts_as_collapsed(self) -> None:
        ends = pd.DataFrame(
            {
                "student": [50.0, 14.0, 60.0, float("nan"), 14.1],
                "status": ["finished", "finished", "diverged", "diverged", "finished"],
            }
        )
        assert homogeneity.collapsed(ends, limit=14.0).tolist() == [False, True, True, True, False]

    def test_paired_test_is_mcnemars(self) -> None:
        lost, reference = pd.Series([True] * 3 + [False] * 7), pd.Series([True, False, False] + [True] * 6 + [False])
        here, there, p_value = homogeneity.paired_test(lost, reference)
        assert (here, there) == (2, 6)
        assert p_value == pytest.approx(2 * stats.binom.cdf(2, 8, 0.5))
        assert homogeneity.paired_test(lost, lost) == (0, 0, 1.0)

    def test_writes_and_does_not_train_again(
        self, bench: Bench, folder: Path, tiny: dict[str, Any], found: studies.Report
    ) -> None:
        before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("metrics.jsonl")}
        assert len(before) == 6  # two cases are the same runs
        words = [f"--{name.replace('_', '-')}={value}" for name, value in tiny.items()]
        answer = bench("study", "homogeneity", *words, f"--out={folder / 'out'}")
        assert answer.code == 0
        assert "6 of 6" in answer.err
        assert {path: path.stat().st_mtime_ns for path in before} == before
        names = ["README.md", "curves.csv", "homogeneity.csv", "homogeneity.png", "homogeneity.svg"]
        assert sorted(path.name for path in (folder / "out").iterdir()) == names
        written = pd.read_csv(folder / "out" / "homogeneity.csv")
        assert written["collapsed"].tolist() == found.tables["homogeneity"]["collapsed"].tolist()
        page = (folder / "out" / "README.md").read_text(encoding="utf-8")
        assert f"--results {folder}" not in page
        assert "--engine" not in page


class TestAblation:
    @pytest.mark.thorough
    def test_table_compares_with_the_reference_seed_by_seed(
        self, folder: Path, tiny: dict[str, Any], found: studies.Report
    ) -> None:
        like_homogeneity = homogeneity.Settings(**tiny).model_dump(include={"lr", "batch_size", "ramp"})
        settings = ablation.Settings(**tiny, **like_homogeneity)
        result = ablation.run(settings)
        table = result.tables["ablation"]
        assert set(table) == {
            *("factor", "case", "accuracy", "std", "n", "collapsed", "diverged"),
            *("difference", "difference_low", "difference_high", "pairs", "is_reference"),
        }
        assert table["is_reference"].tolist() == [True, False, True, False]
        assert (table["n"] == 2).all()
        expected = table["accuracy"] - table["accuracy"].iloc[0]
        assert table["difference"].tolist() == pytest.approx(expected.tolist())
        assert (table.loc[table["is_reference"], "difference"] == 0).all()
        files = studies.write("ablation", settings, result, folder / "ablation")
        assert {path.name for path in files} == {
            *("ablation.svg", "ablation.png", "ablation.csv", "differences.csv", "README.md")
        }

    def test_interval_of_a_mean_is_students(self) -> None:
        values = pd.Series([1.0, 2.0, 4.0, 5.0])
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        mean, low, high = runs.mean_interval(values)
        assert (mean, low, high) == pytest.approx((3.0, expected.low, expected.high))
        assert runs.mean_interval(values[:2])[1:] == pytest.approx((float("nan"),) * 2, nan_ok=True)


class TestSubsets:
    def test_components_of_effects_that_add_up(self) -> None:
        subset, seed = np.array([0.0, 1.0, 2.0, 5.0]), np.array([-1.0, 0.0, 1.0])
        found = subsets.components(pd.DataFrame(3 + subset[:, None] + seed[None, :]))
        assert found["seeds"] == 3
        assert found["gain"] == pytest.approx(5)
        assert found["sd_subset"] == pytest.approx(subset.std(ddof=1))
        assert found["sd_seed"] == pytest.approx(seed.std(ddof=1))
        assert found["sd_rest"] == pytest.approx(0, abs=1e-9)
        one_seed = subsets.components(pd.DataFrame([[1.0], [2.0], [3.0]]))
        assert one_seed["gain"] == 2
        assert np.isnan([one_seed["sd_subset"], one_seed["sd_rest"], one_seed["p_subset"]]).all()
        interval = stats.ttest_1samp(3 + subset, 0).confidence_interval(0.95)
        assert (found["gain_low"], found["gain_high"]) == pytest.approx((interval.low, interval.high))

    def test_components_are_those_of_the_model(self) -> None:
        generator = np.random.default_rng(0)
        noise = generator.normal(size=(400, 20))
        effects = 2 * generator.normal(size=(400, 1)) + 0.5 * generator.normal(size=(1, 20)) + noise
        found = subsets.components(pd.DataFrame(effects))
        assert (found["sd_subset"], found["sd_rest"]) == pytest.approx((2, 1), rel=0.1)
        assert found["sd_seed"] == pytest.approx(0.5, rel=0.5)
        assert found["p_subset"] < 1e-6

    @pytest.mark.thorough
    def test_every_subset_has_every_seed(self, folder: Path, tiny: dict[str, Any]) -> None:
        settings = subsets.Settings(**tiny, subsets=2)
        result = subsets.run(settings)
        gains, table = result.tables["gains"], result.tables["subsets"]
        assert len(gains) == 3 * 2 * 2
        assert table["case"].tolist() == ["PCL", "rate: 0.5", "rate: 1.0"]
        assert table["gain"].iloc[0] == pytest.approx(gains[gains["case"] == "PCL"]["gain"].mean())
        stored = store.load(folder, split="all")
        assert set(stored["data.subset_seed"].fillna(0)) == {0, 1}
        files = studies.write("subsets", settings, result, folder / "subsets")
        assert {path.name for path in files} == {
            *("subsets.svg", "subsets.png", "subsets.csv", "gains.csv", "README.md")
        }

    def test_noise_alone_is_as_rarely_significant_as_the_level_says(self) -> None:
        samples = np.random.default_rng(1).normal(size=(500, 4, 3))
        p_values = [subsets.components(pd.DataFrame(sample))["p_subset"] for sample in samples]
        assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.025)
