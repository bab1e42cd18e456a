"""One registry of metrics: a method's own metric, declared in its file, is everywhere where ours are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import exchange, metrics, store
from benchmark.metrics import METRICS, RECORDED
from benchmark.tables import TableStyle, build, rendered
from methods import MethodMetric
from methods.errors import InputError
from tests.command_line import Bench

PLUGIN = '''
from methods import MethodMetric
from methods.objectives import cross_entropy
from methods.peers import PeerHyperparameters, SeparatePeers


class Counting(SeparatePeers):
    """Counting: independent networks that count their epochs."""

    name = "counting"
    metrics = (MethodMetric("epochs-counted", "epochs that were counted in %, last epoch", "%", low=0, high=100),)

    class Hyperparameters(PeerHyperparameters):
        pass

    def __init__(self, backbones, hyperparameters):
        super().__init__(backbones, hyperparameters, hyperparameters.peers)

    def losses(self, outputs, labels, progress):
        return {"cross_entropy": cross_entropy(outputs.peers, labels)}

    def scores(self):
        return {"epochs-counted": 12.5}
'''
NAME = "epochs-counted"


def test_a_method_cannot_redefine_a_metric_of_every_method(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(PLUGIN.replace(NAME, "student"))
    words = "run --methods counting --dataset digits --plugin counting.py --seeds 1 --epochs 1 --engine serial"
    bench(*words.split()).assert_refused("counting", "'student'")
    assert not (tmp_path / "results").exists()


@pytest.fixture
def trained(bench: Bench, tmp_path: Path) -> Path:
    """A results folder with two runs of the plug-in's method; the plug-in itself is gone."""
    (tmp_path / "counting.py").write_text(PLUGIN)
    words = "run --methods counting --dataset digits --plugin counting.py --seeds 2 --epochs 2 --backbone resnet8"
    settings = "--set data.train_per_class=3 --set data.test_per_class=3 --engine serial --device cpu"
    assert bench(*words.split(), *settings.split()).code == 0
    listed = bench("list", "metrics", "--plugin", "counting.py").out
    assert NAME in listed
    assert "switch-gap" in listed
    (tmp_path / "counting.py").unlink()
    return tmp_path / "results"


def test_it_is_in_tables_curves_report_and_site(bench: Bench, trained: Path, tmp_path: Path) -> None:
    assert "12.500 ± 0.000 (2)" in bench("table", "--value", NAME).out
    assert "12.500 ± 0.000 (2)" in bench("table", "--columns", f"student,{NAME}").out
    (cell,) = json.loads(bench("table", "--value", NAME, "--format", "json").out)["cells"]
    assert (cell["metric"], cell["mean"]) == (NAME, 12.5)
    bench("table", "--value", "epochs-cuonted").assert_refused(NAME)
    assert bench("plot", "curves", "--value", f"method/{NAME}", "--out", "own.svg").code == 0
    assert "epochs that were counted" in (tmp_path / "own.svg").read_text()
    bench("plot", "ranks", "--value", NAME).assert_refused(NAME)
    assert bench("report", "--out", "report.html").code == 0
    assert (tmp_path / "report.html").read_text().count(NAME) > 1
    assert bench("site", "--out", "site", "--baseline", "counting").code == 0
    # among the curves that the page of the method draws
    assert f'"{NAME}"' in (tmp_path / "site" / "methods" / "counting.html").read_text()


def test_it_is_checked_when_runs_are_read(bench: Bench, trained: Path, tmp_path: Path) -> None:
    assert bench("pack", "results", "--out", "runs.tar.gz").code == 0
    assert exchange.merge([tmp_path / "runs.tar.gz"], tmp_path / "elsewhere").added == 2
    folder = next((trained / "runs").glob("counting-*"))
    lines = (folder / store.METRICS).read_text()
    (folder / store.METRICS).write_text(lines.replace("12.5", "112.5"))
    (damage,) = store.load(trained).attrs[store.DAMAGED].values()
    assert f"method/{NAME}" in damage
    assert "112.5" in damage


@pytest.mark.thorough
def test_that_of_an_installed_method_is_in_help_and_completion(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "counting-1.0.dist-info").mkdir(parents=True)
    (site / "counting.py").write_text(PLUGIN)
    (site / "counting-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (site / "counting-1.0.dist-info" / "entry_points.txt").write_text("[okdbench.methods]\ncounting = counting\n")

    def answered(*words: str, **environment: str) -> str:
        paths = {"PYTHONPATH": os.pathsep.join((str(site), str(Path(__file__).parents[1])))}
        program = "import sys; sys.argv[0] = 'bench'; from benchmark.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**os.environ, **paths, "COLUMNS": "400", "NO_COLOR": "1", **environment},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    for words in ("table --help", "plot --help", "list metrics"):
        assert NAME in answered(*words.split())
    line = {"COMP_WORDS": "bench table --value epo", "COMP_CWORD": "3", "_BENCH_COMPLETE": "complete_bash"}
    assert answered(**line).split() == [NAME]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"top1/peer0": 100.5}, "top1/peer0"),
        ({"nll/peer0": -1.0}, "nll/peer0"),
        ({"kl/teacher-peer": -0.1}, "kl/teacher-peer"),
        ({"method/own": 3.0}, "method/own"),
    ],
)
def test_ranges(row: dict[str, float], fault: str) -> None:
    other = {"loss": -3.0, "gain/ensemble": -3.0, "method/another": -1.0, "top1/peer1": 100.0}
    (line,) = metrics.out_of_range(other | row, [MethodMetric("own", "a number", low=0, high=2)])
    assert line.startswith(fault)


@pytest.mark.parametrize("given", [{"name": "A b"}, {"name": "a", "low": 1, "high": 1}])
def test_impossible_declarations_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(InputError, match="metric"):
        MethodMetric(**{"description": "x", **given})  # type: ignore[arg-type]


def test_a_metric_of_ours_is_not_replaced() -> None:
    assert metrics.known([MethodMetric("student", "another")])["student"] is METRICS["student"]


def test_digits_are_of_accuracies_alone(finished_runs: Path) -> None:
    names = ["student", "multiply-adds", "ece", "nll"]
    frame = store.load(finished_runs, "last")
    assert frame["cost.step_multiply_adds"].notna().all()
    digits = {name: build(frame, [name], showing=TableStyle(digits=0)) for name in names}
    found = {name: {one.decimals for one in table.replicates.values()} for name, table in digits.items()}
    assert found == {"student": {0}, "multiply-adds": {2}, "ece": {2}, "nll": {3}}
    assert "student" in rendered(digits["student"])


def test_every_number_that_a_run_records_is_declared(finished_runs: Path) -> None:
    families = {
        name.partition("/")[0]
        for folder in (finished_runs / "runs").glob("[a-z]*")
        for line in (folder / store.METRICS).read_text().splitlines()
        for name in json.loads(line)
    }
    assert families <= RECORDED.keys()
    assert {"top1", "nll", "ece", "kl", "gradient"} <= families
    assert np.isfinite([RECORDED[name].low or 0.0 for name in families]).all()


def test_runs_from_before_roles_were_declared_have_those_of_their_names(finished_runs: Path) -> None:
    folder = next((finished_runs / "runs").glob("pcl-*"))
    raw = {name: (folder / name).read_bytes() for name in (store.CONFIG, store.RESULT, store.METRICS)}
    now = store.parse(raw).result
    old = {key: value for key, value in json.loads(raw[store.RESULT]).items() if key not in ("roles", "metrics")}
    before = store.parse(raw | {store.RESULT: json.dumps(old).encode()}).result
    assert now is not None
    assert before is not None
    assert dict(before.roles) == dict(now.roles)


def test_a_note_says_where_macs_and_time_order_methods_differently() -> None:
    macs = {"independent": 1.0, "dml": 2.0, "mcl_okd": 2.9, "ahbf": 6.6}
    seconds = {"independent": 1.0, "dml": 2.1, "mcl_okd": 5.6, "ahbf": 4.8}
    note = metrics.cost_note(macs, seconds)
    assert all(word in note for word in ("mcl_okd", "2.9", "5.6", "ahbf", "6.6", "4.8"))
    assert "dml" not in note
    assert metrics.cost_note(macs, {name: 3 * cost for name, cost in macs.items()}) == ""


def test_time_per_step_leaves_evaluation_out(finished_runs: Path) -> None:
    frame = store.load(finished_runs, "last")
    # with the smallest possible training set a run is mostly evaluation, diagnostics and start-up
    steps = frame["train.epochs"] * 1
    assert (frame["cost.step_seconds"] > 0).all()
    assert (frame["cost.step_seconds"] * steps < frame["cost.seconds"]).all()
    assert not METRICS["step-time"].deterministic
