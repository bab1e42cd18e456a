"""``bench doctor --deep``: four parts within a limit of time, against stored numbers, as JSON and as a page."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from benchmark.datasets import Shape
from benchmark.hardware import reference
from benchmark.hardware.deep import MODES, PARTS, machine_record, page
from benchmark.hardware.measurements import (
    Check,
    DeviceReport,
    Part,
    PartProcess,
    Speed,
    Workload,
    recorded_repeat,
    repeats,
    step_speed,
    together,
)
from benchmark.speed.measure import Rate
from benchmark.training import check_settings
from benchmark.training.devices import Machine
from tests.command_line import Bench
from tests.pretended_device import PretendedDevice, PretendedGraph

CPU = torch.device("cpu")
STORED = reference.read()


@pytest.fixture(scope="module")
def workload() -> Workload:
    return replace(Workload.of(CPU), batch_size=4)


def speed(backbone: str, rate: float, precision: str = "fp32", method: str = "pcl", mode: str = "eager") -> Speed:
    setting = {"method": method, "backbone": backbone, "precision": precision, "mode": mode}
    return Speed.model_validate({**setting, "batch_size": 4, "images_per_s": Rate.of([rate])})


def report(**found: Any) -> DeviceReport:
    parts = [Part(title=title, status="complete") for title in PARTS]
    return DeviceReport(device="A device", kind="cuda", versions={"torch": "2.15"}, minutes=9.0, parts=parts, **found)


class TestCommand:
    @pytest.mark.thorough
    def test_a_short_time_cuts_parts_which_is_(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        printed = bench("doctor", "--deep", "--minutes", "0.1", "--out", "a").out
        found = DeviceReport.model_validate_json((tmp_path / "a" / "doctor.json").read_text())
        assert [part.title for part in found.parts] == list(PARTS)
        for part in found.parts:
            assert part.status in ("complete", "cut")
            assert f"{part.title}: {part.status}" in printed
            assert (part.status == "cut") == bool(part.notes)
        # no runs are started at the same time for so short a time
        assert [own for own in found.speeds if own.gain] == []
        assert found.checks
        assert "graph" in [own.mode for own in found.speeds if own.refusal]
        assert found.sound
        assert (tmp_path / "a" / "doctor.md").read_text() == page(found)

    @pytest.mark.parametrize(
        ("words", "facts"),
        [
            ("--minutes 3", ["--minutes", "--deep"]),
            ("--out x", ["--out", "--deep"]),
            ("--deep --minutes 0", ["--minutes", "0.1"]),
            ("--deep --device cuda:99", ["'cuda:99'", "auto, cpu, cuda"]),
        ],
    )
    def test_bad_options_are_one_line(self, words: str, facts: list[str], tmp_path: Path, bench: Bench) -> None:
        bench("doctor", *words.split()).assert_refused(*facts)
        assert list(tmp_path.iterdir()) == []


class NoisyConvolutions(TorchFunctionMode):
    """Give every convolution in float32 relative noise, as the kernels of another device have it."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self._size = size
        self._generator = torch.Generator().manual_seed(0)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        if function is torch.conv2d and result.dtype == torch.float32:
            return result * (1 + self._size * torch.randn(result.shape, generator=self._generator))
        return result


class TestStoredNumbers:
    @pytest.mark.parametrize("method", sorted(STORED))
    def test_the_trajectories_are_those_of_the_methods(self, method: str) -> None:
        (found,) = reference.compare(CPU, STORED[method], method, "float64")
        assert found.fault is None, "a change that alters numbers: python -m benchmark.hardware.reference"

    @pytest.mark.parametrize("method", sorted(STORED))
    def test_the_noise_of_other_kernels_is_no_difference(self, method: str) -> None:
        with NoisyConvolutions(3e-6):
            (found,) = reference.compare(CPU, STORED[method], method, "fp32")
        assert found.fault is None
        assert found.difference is not None
        assert found.difference > 1e-6

    @pytest.mark.parametrize("arithmetic", ["float64", "fp32"])
    @pytest.mark.parametrize(
        ("method", "term"), [("dml", "distillation"), ("pcl", "peer_distillation"), ("mcl", "soft_vcl")]
    )
    def test_a_loss_weight_that_is_off_by_a_hundredth_is_one(
        self, method: str, term: str, arithmetic: reference.Arithmetic
    ) -> None:
        wrong = [step | {term: step[term] / 1.01} for step in STORED[method]]
        with NoisyConvolutions(3e-6):
            (found,) = reference.compare(CPU, wrong, method, arithmetic)
        assert found.fault

    def test_what_is_not_finite_agrees_with_nothing(self) -> None:
        unlike = [dict.fromkeys(STORED["dml"][0], math.nan), *STORED["dml"][1:]]
        (found,) = reference.compare(CPU, unlike, "dml", "float64")
        assert found.difference is None
        assert found.fault == "step 0, cross_entropy: nan, allowed are 1e-09"


class TestParts:
    @pytest.mark.thorough
    def test_runs_give_the_same_bits(self, workload: Workload) -> None:
        found = repeats(workload, "dkel", "fp32")
        assert [(own.what, own.fault) for own in found] == [("again", None), ("resumed", None)]

    def test_recorded_steps_are_compared_with_others(self, workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
        replay = PretendedGraph.replay

        def mistaken(graph: PretendedGraph) -> None:
            replay(graph)
            for result in graph.results():
                result.add_(1)

        with PretendedDevice() as device:
            workload = replace(workload, device=torch.device("cuda"))
            assert recorded_repeat(workload, "independent", "fp32", "sgd")[0].fault is None
            assert [graph.replays > 0 for graph in device.graphs] == [True]
            monkeypatch.setattr(PretendedGraph, "replay", mistaken)
            assert recorded_repeat(workload, "independent", "fp32", "sgd")[0].fault is not None

    def test_all_run_on_a_gpu_as_far_as_a_cpu_can_tell(
        self, workload: Workload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmark.speed.measure.MATRIX_SIDE", 16)
        monkeypatch.setattr("benchmark.hardware.measurements.random_shape", lambda *_: Shape(64, 8, 4, 3, 8))
        with PretendedDevice():
            cuda = torch.device("cuda")
            workload = replace(workload, device=cuda, precisions=("tf32", "bf16"))
            for arithmetic in reference.TRAJECTORIES:
                assert reference.compare(cuda, STORED["pcl"], "pcl", arithmetic)[0].fault is None
            assert [own.fault for own in repeats(workload, "dml", "bf16")] == [None, None]
            for optimizer in ("sgd", "adamw"):
                assert recorded_repeat(workload, "dml", "tf32", optimizer)[0].fault is None
            for mode in MODES[:2]:
                check_settings([workload.main_run(mode)], cuda)
                assert step_speed(workload, "independent", "resnet8", "tf32", mode)[0].refusal is None

    @pytest.mark.thorough
    def test_a_step_is_measured(self, workload: Workload) -> None:
        (found,) = step_speed(workload, "independent", "resnet8", "fp32", "eager")
        assert found.images_per_s is not None
        assert 0 < found.images_per_s.low <= found.images_per_s.median <= found.images_per_s.high
        assert found.matrix_share is not None

    @pytest.mark.thorough
    def test_runs_at_the_same_time_report_their_rates(self, workload: Workload) -> None:
        alone = replace(workload, methods=("independent",))
        (found,) = together(alone, 1, lambda: 120.0)
        assert (found.runs, found.gain) == (1, 1)
        assert found.images_per_s is not None
        assert found.images_per_s.low > 0

    @pytest.mark.thorough
    def test_a_measurement_that_fails_or_dies_leaves_the_next_a_fresh_process(self) -> None:
        process = PartProcess()
        try:
            first = process(os.getpid)
            assert process(os.getpid) == first
            with pytest.raises(ValueError, match="invalid literal"):
                process(int, "no number")
            second = process(os.getpid)
            with pytest.raises(RuntimeError, match="died"):
                process(os._exit, 1)
            assert len({os.getpid(), first, second, process(os.getpid)}) == 4
        finally:
            process.close()


def test_the_machine_record_has_what_was_measured_of_the_main_run(workload: Workload) -> None:
    machine = Machine(device="A device", driver="1.0", torch_version="2.15")
    assert machine_record(machine, workload, report()) is None
    found = report(
        checks=[
            Check(what="again", method="pcl", arithmetic="fp32", fault="metrics.1.loss"),
            Check(what="recorded", method="pcl", arithmetic="fp32"),
            Check(what="recorded", method="dml", arithmetic="fp32", fault="state.x"),
            Check(what="recorded", method="okdph", arithmetic="fp32", refusal="it reads progress.epoch"),
            Check(what="recorded", method="pcl", arithmetic="bf16", optimizer="adamw"),
        ],
        speeds=[
            *(speed("resnet8", 100.0), speed("resnet8", 150.0, "bf16"), speed("resnet8", 110.0, mode="compiled")),
            *(speed("resnet20", 1.0, "bf16"), speed("resnet8", 900.0, method="dml", mode="graph")),
            *(
                speed("resnet8", 90.0).model_copy(update={"runs": runs, "gain": gain})
                for runs, gain in ((2, 1.8), (4, 1.6))
            ),
        ],
    )
    record = machine_record(machine, workload, found)
    assert record is not None
    assert record.recorded == {"fp32 sgd": {"pcl": True, "dml": False}, "bf16 adamw": {"pcl": True}}
    assert record.runs_per_device == 2
    assert record.gains == pytest.approx({"bf16": 1.5, "compile": 1.1, "parallel": 1.8})


def test_the_page_shows_what_was_found_in_every_part() -> None:
    setting: dict[str, Any] = {"backbone": "resnet32", "batch_size": 128, "precision": "tf32", "mode": "graph"}
    found = report(
        checks=[
            Check(what="stored", method="dml", arithmetic="tf32", difference=0.5),
            Check(what="resumed", method="dml", arithmetic="tf32", fault="metrics.1.loss"),
        ],
        speeds=[
            Speed(
                method="dml",
                images_per_s=Rate(30e3, 29e3, 31e3),
                gain=1.9,
                matrix_gflop_per_s=4e5,
                peak_mib=512.0,
                **setting,
            ),
            Speed(method="okdph", refusal="it reads", **setting),
        ],
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page(found).splitlines() if line[:1] == "|"]
    assert ["stored", "dml", "tf32", "sgd", "0.5", "", ""] in rows
    assert ["resumed", "dml", "tf32", "sgd", "", "metrics.1.loss", ""] in rows
    assert ["30,000 (29,000 to 31,000)", "1.9", "400,000", "", "512", ""] in [row[6:] for row in rows]
    assert ["", "", "", "", "", "it reads"] in [row[6:] for row in rows]
    assert not found.sound
    assert DeviceReport.model_validate_json(found.model_dump_json()) == found
