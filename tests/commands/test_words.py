"""What is said to words that are wrong or nearly right: one line with the valid ones, and exit code 2."""

from pathlib import Path

import pytest
from rich.text import Text

import benchmark
from benchmark import cli, datasets
from benchmark.configuration import DataConfig, Request, plan
from methods.errors import InputError
from tests.command_line import PLUGIN, Bench, process

pytestmark = pytest.mark.usefixtures("small")

DML = "run --methods dml"
TABLE = "table --results {results}"
GIVEN_AS = "the setting is given as --set"
REFUSED = [
    ("run --methods dkle", "unknown method 'dkle', did you mean 'dkel'? (valid: "),
    ("run --methods pcl,dmll", "did you mean 'dml'?"),
    ("run --methods ,", "methods names nothing"),
    ("run --methods kd", "kd.teacher must be given", "--set kd.teacher="),
    ("run --dataset cifar1000", "unknown dataset 'cifar1000', did you mean 'cifar100'? (valid: cifar10, "),
    ("run --dataset folder:nowhere", "no such folder: nowhere"),
    ("run --backbone resnet33", "unknown backbone 'resnet33', did you mean 'resnet"),
    (f"{DML} --backbone resnet8+resnt14", "did you mean 'resnet14'?"),
    (f"{DML} --backbone x1,x2,x3,x4,x5,x6,x7,x8", "unknown backbone 'x1'"),
    ("run --backbone resnet8+resnet14 --methods pcl", "'pcl' takes one backbone"),
    *(
        (f"{DML} --epochs 50 --set train.milestones={text}", "train.milestones", "shares", "whole epochs", "50")
        for text in ("[100,150]", "[1,2]", "[0.5,3]", "[1.5]")
    ),
    ("run --set train.epoch=3", "did you mean 'epochs'? (valid: "),
    ("run --set dkel.decayy=exp --methods dkel", "did you mean 'decay'"),
    (f"{DML} --set train.learning_rate=0.1", "did you mean 'lr'"),
    (f"{DML} --set train.wd=0", "did you mean 'weight_decay'"),
    (f"{DML} --set pcl.temperature=3", "'pcl' is not among the methods of this run"),
    ("run --set train.lr", "SECTION.KEY=VALUE"),
    ("run --set train.lr=[1", "--set train.lr=[1"),
    ("run --set train.lr=0", "train.lr: Input should be greater than 0 (given: 0)"),
    # a number that means another
    *((f"{DML} --set train.batch_size={text}", text) for text in ("0100", "-007", "1:30", "0_1")),
    (f"{DML} --set data.train_per_class=1000 --seeds 1", "class 0 has only"),
    (f"{DML} --set data.test_per_class=1000", "digits: data.test_per_class: class 0 has only 36 images (1000 asked)"),
    (f"{DML} --config small --set data.holdout=0.2 --dry-run", "data.holdout 0.2 leaves no image on one side"),
    (
        "run --set data.mix=mixup --methods dml,kdcl,mcl",
        "data.mix=mixup does not go with kdcl, mcl, which must know every image's one class (methods that take "
        "mixed labels: independent, kd, ",
    ),
    (f"{DML} --epochs 50 --set train.milestones=[0.5,30]", "train.milestones", "shares", "whole epochs", "50"),
    ("run --learning-rate 0.1", f"{GIVEN_AS} train.lr=0.1"),
    (f"{DML} --lr 0.01", f"{GIVEN_AS} train.lr=0.01"),
    (f"{DML} --weight-decay=0.1", f"{GIVEN_AS} train.weight_decay=0.1"),
    (f"{DML} --pad", f"{GIVEN_AS} data.pad=VALUE"),
    ("run --epochs few", "--epochs"),
    ("run --seeds two", "seeds takes how many (3) or which (0,4,7 or 0-4)"),
    ("run --config demmo", "unknown configuration 'demmo', did you mean 'demo'? (valid: "),
    ("run --config nowhere.yaml", "no such configuration file: nowhere.yaml (recipes: "),
    ("run --engine rey", "unknown engine 'rey', did you mean 'ray'? (valid: ray, serial)"),
    ("run --device tpu", "unknown device 'tpu', did you mean 'cpu'? (valid: auto, cpu, cuda, cuda:N, "),
    ("run --trials-per-gpu 0", "trials_per_gpu must be a whole number from 1 to 100 (given: 0)"),
    ("run --epoch 3", "No such option"),
    ("run --methods", "--methods"),
    ("run pcl", "pcl"),
    # of plug-ins that are no file, whatever is asked for
    ("run --plugin nowhere.py --dry-run", "no such plugin file: nowhere.py"),
    ("schedules --method pcl --plugin nowhere.py", "no such plugin file: nowhere.py"),
    ("speed --methods dml --plugin nowhere.py", "no such plugin file: nowhere.py"),
    ("check dml --plugin nowhere.py", "no such plugin file: nowhere.py"),
    ("run --save-predictions --predictions-type float64", "did you mean 'float"),
    ("run --predictions-type float32", "predictions_type says what save_predictions keeps"),
    ("table --results nowhere", "no such results folder: nowhere"),
    (f"{TABLE} --format cvs", "unknown format 'cvs', did you mean 'csv'? (valid: csv, "),
    (f"{TABLE} --value acc", "did you mean 'student'"),
    (f"{TABLE} --columns accuracy", "did you mean 'student'"),
    (f"{TABLE} --columns studnet", "'studnet'", "did you mean 'student'?", "(valid: "),
    (f"{TABLE} --columns ,", "columns names nothing", "(valid: "),
    (f"{TABLE} --where acc>50", "did you mean 'student'"),
    (f"{TABLE} --rows seed", "unknown row 'seed'", "method,seed"),
    (f"{TABLE} --out t.docx", "docx", "latex", "json"),
    ("plot ranks --value acc --results {results}", "did you mean 'student'"),
    ("plot curves --run a", "--run goes with bench plot confusion and agreement"),
    ("plot confusion --value student", "confusion has no --value"),
    ("plot agreement --predictor peer0", "--predictor goes with bench plot confusion"),
    ("predict a --out a.npy", "did you mean '.npz'?"),
    ("predict a", "--out"),
    ("predict a --out a.npz", "no such results folder: results"),
    ("list method", "unknown kind or method 'method', did you mean 'methods'? (valid: "),
    ("list rnus", "did you mean 'runs'?"),
    ("list runs --status faild", "did you mean 'failed'?"),
    ("list runs --results no", "no such results folder"),
    ("list runs --split validation --results {results}", "no run is scored on the validation split"),
    ("list methods --status failed", "--status goes with 'bench list runs'"),
    ("list methods --where a=b", "--where goes with 'bench list runs'"),
    ("rm --results {results}", "--where", "--failed"),
    ("rm nothing --results {results}", "unknown run 'nothing'"),
    ("tabel", "table"),
    ("--verson", "--version"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_one_line_with_the_valid_ones_and_exit_code_2(
    bench: Bench, finished_runs: Path, tmp_path: Path, case: tuple[str, ...]
) -> None:
    words, *fragments = case
    bench(*words.format(results=finished_runs).split()).assert_refused(*fragments)
    assert list(tmp_path.rglob("config.yaml")) == []


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ("train:\n  epoch: 3\n", "did you mean 'epochs'?"),
        ("train:\n  lr: 1\n  pad: 0\n  lr: 2\n", "duplicate key 'lr'"),
    ],
)
def test_a_key_of_a_file_is_named(bench: Bench, tmp_path: Path, content: str, meant: str) -> None:
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    bench("run", "--config", "mine.yaml").assert_refused(meant)


def test_milestones_are_shares_or_whole_epochs() -> None:
    layer = {"methods": ["dml"], "dataset": "digits", "seeds": 1, "epochs": 200}
    (shares,) = plan(Request([layer | {"train": {"milestones": [0.5, 0.75]}}]), datasets)
    (whole,) = plan(Request([layer | {"train": {"milestones": [100, 150]}}]), datasets)
    assert whole == shares


def test_a_network_of_a_library_is_not_taken_for_one_of_ours(bench: Bench) -> None:
    answer = bench("run", "--methods", "dml", "--backbone", "timn:resnet18", "--dry-run")
    assert answer.code == 2
    assert "did you mean 'resnet18'" not in answer.err


def test_a_plan_with_a_plugin_that_cannot_be_trained(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    answer = bench("run", "--config", "small", "--methods", "explosive", "--plugin", "mine.py", "--dry-run")
    answer.assert_refused("explosive takes no training step: RuntimeError: the fuse was short")


def test_results_that_cannot_be_written_are_a_fault_of_the_machine(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    answer = bench("run", "--methods", "dml", "--config", "small", "--results", "taken")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"bench: cannot write results to {tmp_path}/taken: Not a directory\n"


def test_no_command_at_all_is_answered_with_the_help(tmp_path: Path) -> None:
    answer = process(tmp_path)
    assert "Usage: bench" in answer.out
    assert (answer.code, answer.err) == (2, "")


@pytest.mark.parametrize("command", sorted(cli.program().commands))
def test_help_is_printed_with_all_its_brackets(command: str) -> None:
    parameters = cli.program().commands[command].params
    helps = [parameter.help for parameter in parameters if getattr(parameter, "help", None)]
    assert helps or command == "study"
    for text in helps:
        assert Text.from_markup(text).plain == text.replace("\\[", "[")


def test_the_api_names_its_arguments_and_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'plugins'") as caught:
        benchmark.run("dml", plugin=["x.py"], results=tmp_path)
    for word in ("plugins", "settings", "config", "force", "quiet", "seeds", "results"):
        assert f" {word}" in str(caught.value)
    with pytest.raises(InputError, match=r"digits: data\.train_per_class"):
        datasets.load("digits", DataConfig(train_per_class=1000), Path())
