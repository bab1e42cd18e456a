"""What was measured of a machine decides whether steps are recorded there, and what is advised before a plan."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.configuration import RunConfig, TrainConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.speed.measure import random_runs
from benchmark.store import environment
from benchmark.training import PrecisionConfig, Trainer, devices
from benchmark.training.devices import Machine, MachineRecord, machine_remarks, read_machine_record, records_steps
from tests.command_line import Bench
from tests.pretended_device import PretendedDevice

CUDA = torch.device("cuda")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A GPU whose record is looked for in a temporary folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environment, "device_name", lambda device: "Pretended GPU")
    monkeypatch.setattr(devices, "_driver_version", lambda: "550.54")
    return Machine.of(CUDA)


def recorded(machine: Machine, **found: Any) -> MachineRecord:
    made = MachineRecord(machine=machine, workload="pcl, resnet32, batch 128", **found)
    made.write()
    return made


def records(method: str = "pcl", precision: Any = None, device: torch.device = CUDA, **train: Any) -> bool:
    settings = TrainConfig(precision=precision, **train)
    return records_steps(settings, method, PrecisionConfig.of(device, settings))


def runs(**train: Any) -> list[RunConfig]:
    return random_runs("dml,pcl", "resnet8", {"epochs": 1, **train}, {})


class TestRecord:
    def test_it_is_read_back_on_the_same_machine_alone(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        assert read_machine_record(CUDA) is None
        made = recorded(machine, recorded={"tf32 sgd": {"pcl": True}}, runs_per_device=4, gains={"bf16": 1.6})
        assert read_machine_record(CUDA) == made
        monkeypatch.setattr(devices, "_driver_version", lambda: "560.00")
        assert read_machine_record(CUDA) is None

    @pytest.mark.parametrize("content", ["", "{}", '{"machine": 3}'])
    def test_a_damaged_one_is_none(self, content: str, machine: Machine) -> None:
        recorded(machine)
        machine.file.write_text(content)
        assert read_machine_record(CUDA) is None


class TestAuto:
    def test_steps_are_recorded_where_the_record_shows_the_same_bits(self, machine: Machine) -> None:
        assert not records()
        recorded(machine, recorded={"tf32 sgd": {"pcl": True, "dml": False}, "bf16 sgd": {"pcl": True, "dml": True}})
        assert records("pcl")
        assert not records("dml")
        # a method that was not tried, where another one differs and where none does
        assert not records("plugin")
        assert records("plugin", "bf16")
        # nothing is known of it
        assert not records("pcl", "fp32")
        assert not records("pcl", optimizer="adamw")
        assert not records("pcl", compile=True)
        assert not records("pcl", device=torch.device("cpu"))

    def test_who_says_it_decides(self, machine: Machine) -> None:
        assert records(graph=True)
        recorded(machine, recorded={"tf32 sgd": {"pcl": True}})
        assert not records(graph=False)

    def test_a_run_has_the_identity_of_standard_steps_unless_recording_is_forced(self) -> None:
        auto, plain, forced = (runs(graph=graph)[0].identity for graph in ("auto", False, True))
        assert auto == plain == runs()[0].identity
        assert forced != auto

    def test_a_run_with_the_record_has_the_same_bits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        (config,) = random_runs("pcl", "resnet8", {"epochs": 2, "batch_size": 4}, {"pcl": {"peers": 2}})
        images = random_dataset(Shape(14, 4, 4, 3, 8))

        def trained() -> dict[str, Any]:
            trainer = Trainer(config, images, CUDA)
            torch.manual_seed(0)
            rows = [trainer.epoch() | {"seconds": 0.0} for _ in range(config.train.epochs)]
            state = {name: value.cpu().numpy().tobytes() for name, value in trainer.method.state_dict().items()}
            return {
                "rows": [{name: value.hex() for name, value in row.items() if name != "epoch"} for row in rows]
            } | state

        with PretendedDevice() as device:
            plain = trained()
            assert device.graphs == []
            recorded(Machine.of(CUDA), recorded={"tf32 sgd": {"pcl": True}})
            assert trained() == plain
            assert [graph.replays > 0 for graph in device.graphs] == [True]


class TestRemarks:
    def test_without_a_record_one_line_says_how_to_get_it(self, machine: Machine) -> None:
        (line,) = machine_remarks(runs(), CUDA)
        assert all(fact in line for fact in ("bench doctor --deep", "9 minutes", "1.3 to 3", "modelled"))
        assert machine_remarks(runs(graph=False), CUDA) == []
        assert machine_remarks(runs(), torch.device("cpu")) == []

    def test_what_changes_numbers_is_advised_with_its_measured_gain(self, machine: Machine) -> None:
        recorded(machine, runs_per_device=4, gains={"bf16": 1.62, "compile": 1.04, "parallel": 2.1, "graph": 1.4})
        half, side_by_side = machine_remarks(runs(), CUDA)
        assert all(fact in half for fact in ("train.precision=bf16", "1.6 times", "pcl, resnet32"))
        # for no more runs than there are
        assert all(fact in side_by_side for fact in ("--trials-per-gpu 2", "2.1 times"))
        assert machine_remarks(runs(precision="bf16"), CUDA, runs_per_device=4) == []

    @pytest.mark.usefixtures("small")
    def test_they_are_printed_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        words = "--config small --methods independent --dataset digits --seeds 1 --device cuda"
        with PretendedDevice():
            assert "bench doctor --deep" in bench("run", *words.split()).out
            recorded(Machine.of(CUDA), gains={"bf16": 2.0})
            printed = bench("run", *words.split(), "--force").out
        assert "train.precision=bf16" in printed
        assert "bench doctor --deep" not in printed
