"""What a person is told: of methods and settings, of broken plug-ins, of what takes space, and of slips."""

import json
import shutil
from pathlib import Path

import pytest
from rich.text import Text

from benchmark import cli, datasets, store
from benchmark.configuration import DataConfig, Request, plan
from benchmark.configuration.values import parse_seeds
from benchmark.store import Store
from methods.errors import InputError
from tests.command_line import PLUGIN, Bench
from tests.commands.test_printed_commands import CALM

pytestmark = pytest.mark.usefixtures("small")


class TestList:
    def test_all_that_is_known_of_a_method(self, bench: Bench) -> None:
        out = bench("list", "dkel").out
        for text in (
            "Source: ",
            "decay                  exp|linear|cosine|step|constant|none  default exp",
            "rampup_epochs          whole number at least 0               default 80 of 300 epochs",
            "ema_decay              number at least 0 below 1",
            "teacher0, teacher1, teacher2",
            "bench schedules --method dkel",
            "released: ramp-up divided by the weight 0.1 (D1); here: `ramp: intended`",
        ):
            assert text in out
        assert "teacher      word               must be given" in bench("list", "kd").out

    def test_a_plugin_s_method_too(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(PLUGIN)
        assert "defined in: " in bench("list", "explosive", "--plugin", "mine.py").out
        bench("list", "explosive").assert_refused("unknown kind or method 'explosive'")

    def test_hyperparameters_scores_and_settings(self, bench: Bench) -> None:
        assert "  dml.temperature" in bench("list", "hyperparameters").out
        assert "lower is better" in bench("list", "metrics").out
        assert "  train.lr  " in bench("list", "settings").out

    def test_runs_that_fit(self, bench: Bench, finished_runs: Path) -> None:
        words = ["list", "runs", "--results", str(finished_runs)]
        assert bench(*words, "--where", "method=pcl and seed=1").out.splitlines()[-1].startswith("1 run in ")
        assert bench(*words, "--hide", "pcl").out.count("dml-digits") == 2
        assert "pcl" not in bench(*words, "--hide", "pcl").out
        bench(*words, "--split", "validation").assert_refused("no run is scored on the validation split")
        bench("list", "methods", "--where", "a=b").assert_refused("--where goes with 'bench list runs'")


class TestPlugins:
    def test_a_broken_one_beside_a_wanted_one_is_named(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("x = 1\n\ndef (:\n")
        (tmp_path / "late.py").write_text("x = 1\ny = z\n")
        (tmp_path / "good.py").write_text(CALM)
        plugins = [word for name in ("mine", "late", "good") for word in ("--plugin", f"{name}.py")]
        answer = bench("run", "--config", "small", "--methods", "explosive", "--seeds", "1", "--dry-run", *plugins)
        assert answer.code == 0, answer.err
        assert "note: mine.py is broken: SyntaxError, line 3: " in answer.out
        assert "note: late.py is broken: NameError, line 2: name 'z' is not defined" in answer.out
        bench("run", "--methods", "explosiv", *plugins).assert_refused(
            "did you mean 'explosive'?", "; mine.py is broken: SyntaxError, line 3"
        )

    @pytest.mark.parametrize(
        "words", ["run --methods dml --dry-run", "schedules --method pcl", "speed --methods dml", "check dml"]
    )
    def test_one_that_is_no_file_is_refused_whatever_is_asked_for(self, bench: Bench, words: str) -> None:
        bench(*words.split(), "--plugin", "nowhere.py").assert_refused("no such plugin file: nowhere.py")


class TestSpace:
    @pytest.fixture
    def mine(self, finished_runs: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(finished_runs, tmp_path / "mine"))

    def test_runs_move_to_the_trash_after_they_were_shown(self, bench: Bench, mine: Path) -> None:
        words = ["rm", "--results", "mine", "--where", "method=dml and seed=0"]
        shown = bench(*words)
        assert shown.out.splitlines()[-1] == "1 run; nothing is moved yet: --yes moves them to mine/trash"
        assert len(store.names(mine)) == 4
        assert bench(*words, "--yes").out.splitlines()[-1].startswith("1 of 1 run moved to mine/trash")
        assert len(store.names(mine)) == 3
        (gone,) = (mine / "trash").iterdir()
        gone.rename(mine / "runs" / gone.name)
        assert len(store.names(mine)) == 4
        # one of the same name is there already
        for _ in range(2):
            bench("rm", gone.name, "--results", "mine", "--yes")
            shutil.copytree(mine / "trash" / gone.name, mine / "runs" / gone.name)
        assert [path.name for path in sorted((mine / "trash").iterdir())] == [gone.name, f"{gone.name}.1"]

    def test_failed_ones_and_none_without_a_word(self, bench: Bench, mine: Path) -> None:
        (path,) = mine.glob("runs/pcl-*-s1-*/result.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed"}))
        assert "pcl-digits-resnet8-s1" in bench("rm", "--failed", "--results", "mine").out
        assert bench("rm", "--failed", "dml-digits-resnet8-s0", "--results", "mine").out == "no matching runs in mine\n"
        bench("rm", "--results", "mine").assert_refused("--where", "--failed")
        bench("rm", "nothing", "--results", "mine").assert_refused("unknown run 'nothing'")

    def test_what_another_process_works_on_stays(self, bench: Bench, mine: Path) -> None:
        run = store.find(mine, "dml-digits-resnet8-s0")
        with Store(mine).lock(run.config, patience=0) as held:
            assert held
            answer = bench("rm", run.identity, "--results", "mine", "--yes")
        assert (answer.code, "another process works on it" in answer.out) == (1, True)
        assert run.folder.is_dir()

    def test_what_takes_the_space(self, bench: Bench, mine: Path) -> None:
        folder = next((mine / "runs").glob("dml-*"))
        (folder / store.CHECKPOINT).write_bytes(bytes(2**20))
        (mine / "trash").mkdir()
        (mine / "trash" / "x").write_bytes(bytes(9 * 2**20))
        found = {kind: (files, size) for kind, files, size in store.kinds(mine)}
        assert (found["left checkpoints"], found["trash"]) == ((1, 2**20), (1, 9 * 2**20))
        assert (found["students"][0], found["records"][0]) == (8 + 2, 4 * 3)
        lines = bench("du", "--results", "mine").out.splitlines()
        assert lines[0].split()[:3] == ["9.00", "MiB", "trash"]
        total = sum(path.stat().st_size for path in mine.rglob("*") if path.is_file())
        assert lines[-1].split()[0] == f"{total / 2**20:.2f}"
        bench("du", "--results", "nowhere").assert_refused("no such results folder")


class TestSlips:
    @pytest.mark.parametrize("command", sorted(cli.program().commands))
    def test_help_is_printed_with_all_its_brackets(self, command: str) -> None:
        parameters = cli.program().commands[command].params
        helps = [parameter.help for parameter in parameters if getattr(parameter, "help", None)]
        assert helps or command in ("study",)
        for text in helps:
            assert Text.from_markup(text).plain == text.replace("\\[", "[")

    def test_the_ending_of_a_file_decides_its_format(self, bench: Bench, finished_runs: Path, tmp_path: Path) -> None:
        words = ["table", "--results", str(finished_runs), "--out"]
        for name, beginning in (("t.tex", "%"), ("t.json", "{"), ("t.csv", "method,label,"), ("t.md", "|"), ("t", "|")):
            assert bench(*words, name).code == 0
            assert (tmp_path / name).read_text().startswith(beginning), name
        assert bench(*words, "other.md", "--format", "latex").code == 0
        assert (tmp_path / "other.md").read_text() == (tmp_path / "t.tex").read_text()
        bench(*words, "t.docx").assert_refused("docx", "latex", "parquet")

    def test_unknown_columns(self, bench: Bench, finished_runs: Path) -> None:
        words = ["table", "--results", str(finished_runs), "--columns"]
        bench(*words, "studnet").assert_refused("'studnet'", "did you mean 'student'?", "(valid: ")
        bench(*words, ",").assert_refused("columns names nothing", "(valid: ")

    def test_too_few_images_name_their_dataset(self, bench: Bench) -> None:
        answer = bench("run", "--methods", "dml", "--set", "data.test_per_class=1000")
        answer.assert_refused("digits: data.test_per_class: class 0 has only 36 images (1000 asked)")
        with pytest.raises(InputError, match=r"digits: data\.train_per_class"):
            datasets.load("digits", DataConfig(train_per_class=1000), Path())

    def test_a_plan_is_refused_before_it_is_printed(self, bench: Bench) -> None:
        words = ["run", "--config", "small", "--methods", "dml", "--set", "data.holdout=0.2", "--dry-run"]
        bench(*words).assert_refused("data.holdout 0.2 leaves no image on one side")

    @pytest.mark.parametrize(
        ("words", "setting"),
        [
            ("--lr 0.01", "train.lr=0.01"),
            ("--weight-decay=0.1", "train.weight_decay=0.1"),
            ("--pad", "data.pad=VALUE"),
        ],
    )
    def test_settings_are_pointed_to(self, bench: Bench, words: str, setting: str) -> None:
        bench("run", "--methods", "dml", *words.split()).assert_refused(f"the setting is given as --set {setting}")

    def test_milestones_are_shares_or_whole_epochs(self, bench: Bench) -> None:
        layer = {"methods": ["dml"], "dataset": "digits", "seeds": 1, "epochs": 200}
        (shares,) = plan(Request([layer | {"train": {"milestones": [0.5, 0.75]}}]), datasets)
        (whole,) = plan(Request([layer | {"train": {"milestones": [100, 150]}}]), datasets)
        assert whole == shares
        for text in ("[100,150]", "[1,2]", "[0.5,3]", "[1.5]"):
            answer = bench("run", "--methods", "dml", "--epochs", "50", "--set", f"train.milestones={text}")
            answer.assert_refused("train.milestones takes shares of the epochs, such as [0.5, 0.75], or whole epochs")

    @pytest.mark.parametrize(
        ("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("7-7", [7]), ("0-1,5", [0, 1, 5]), ("3-4, 9-10", [3, 4, 9, 10])]
    )
    def test_seeds_may_be_a_range(self, text: str, seeds: list[int]) -> None:
        assert parse_seeds(text) == seeds

    @pytest.mark.parametrize("text", ["4-0", "0-", "-3", "0-99999999", "0-4-5", "a-b"])
    def test_ranges_that_are_none(self, text: str) -> None:
        with pytest.raises(InputError, match="seeds takes how many"):
            parse_seeds(text)

    def test_a_network_of_a_library_is_not_taken_for_one_of_ours(self, bench: Bench) -> None:
        answer = bench("run", "--methods", "dml", "--backbone", "timn:resnet18", "--dry-run")
        assert answer.code == 2
        assert "did you mean 'resnet18'" not in answer.err

    def test_no_comparison_is_corrected_for(self, bench: Bench, finished_runs: Path) -> None:
        out = bench("table", "--results", str(finished_runs), "--baseline", "dml").out
        assert "Holm" not in out
        assert "no interval and no p, which take 3 seeds" in out

    def test_a_baseline_needs_methods_in_the_rows(self, bench: Bench, finished_runs: Path) -> None:
        words = ["table", "--results", str(finished_runs), "--rows", "seed", "--columns", "method"]
        bench(*words, "--baseline", "dml").assert_refused("the rows are seed")


@pytest.mark.usefixtures("small")
def test_a_plan_with_a_plugin_that_cannot_be_trained_is_one_line(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    answer = bench("run", "--config", "small", "--methods", "explosive", "--plugin", "mine.py", "--dry-run")
    answer.assert_refused("explosive takes no training step: RuntimeError: the fuse was short")
