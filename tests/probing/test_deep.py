"""``bench doctor --deep``: six parts within a limit of time, against stored numbers, as JSON and as a page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmark.speed.estimate import operations_per_image

from benchmark import cli
from benchmark.probing import Probe, reference
from benchmark.probing.cell import cell
from benchmark.probing.page import page
from benchmark.probing.probe import PARTS
from benchmark.probing.records import Agreement, Feeding, Part, Range, Repeat, StepSpeed, Together
from benchmark.probing.repeating import repeats
from benchmark.probing.sharing import Crowd
from benchmark.probing.steps import Steps
from benchmark.probing.subject import Subject
from tests.reference import GOLDEN

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def subject() -> Subject:
    return replace(Subject.of(CPU), batch_size=4)


def step(backbone: str, rate: float, precision: str = "fp32", method: str = "pcl") -> StepSpeed:
    return StepSpeed.model_validate(
        {
            "method": method,
            "backbone": backbone,
            "batch_size": 4,
            "precision": precision,
            "mode": "eager",
            "images_per_s": {"median": rate, "low": rate, "high": rate},
        }
    )


class TestWithinItsTime:
    @pytest.mark.thorough
    def test_a_short_time_cuts_parts_and_says_which(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["bench", "doctor", "--deep", "--minutes", "0.1", "--out", str(tmp_path / "a")])
        cli.main()
        printed = capsys.readouterr().out
        found = Probe.model_validate_json((tmp_path / "a" / "doctor.json").read_text())
        assert [part.title for part in found.parts] == list(PARTS)
        assert {part.ending for part in found.parts} <= {"complete", "cut"}
        for part in found.parts:
            assert f"{part.title}: {part.ending}" in printed
            assert (part.ending == "cut") == bool(part.notes)
        # no processes are started for so short a time
        assert found.parts[3].notes == ["4 of 4 numbers of runs were cut for want of time"]
        assert len(found.agreements) >= 14
        assert all(own.agrees for own in found.agreements)
        assert (tmp_path / "a" / "doctor.md").read_text() == page(found)

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--minutes", "3"], "--minutes goes with --deep"),
            (["--out", "x"], "--out goes with --deep"),
            (["--deep", "--minutes", "0"], "minutes must lie in 0.1..1440 (given: 0)"),
            (["--deep", "--device", "cuda:99"], "no device 'cuda:99' here"),
        ],
    )
    def test_bad_options_are_one_line(
        self,
        words: list[str],
        line: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["bench", "doctor", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        assert line in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []


class TestStoredNumbers:
    def test_the_losses_are_those_of_the_reference_values(self) -> None:
        golden = json.loads((GOLDEN / "losses.json").read_text())
        for case in reference.read()["losses"]:
            (own,) = [
                one
                for one in golden
                if one["case"] == case["name"]
                and one["loss"] == case["loss"]
                and one["inputs"]["peers"] == case["inputs"]["peers"]
            ]
            assert own["params"].get("epoch", 0) == case["epoch"]

    @pytest.mark.parametrize("method", sorted(reference.read()["trajectories"]))
    def test_the_trajectories_are_those_of_the_methods(self, method: str) -> None:
        found = reference.trajectory_agreement(CPU, reference.read(), method, "float64")
        assert found.agrees, "a change that alters numbers: python -m benchmark.probing.reference"

    def test_another_number_is_seen(self) -> None:
        stored = reference.read()
        stored["trajectories"]["dml"][2]["distillation"] *= 1 + 1e-6
        found = reference.trajectory_agreement(CPU, stored, "dml", "float64")
        assert not found.agrees
        assert reference.trajectory_agreement(CPU, stored, "dml", "fp32").agrees
        stored["losses"][0]["loss"] += 0.01
        assert [own.agrees for own in reference.loss_agreements(CPU, stored)].count(False) == 2

    def test_what_is_not_finite_agrees_with_nothing(self) -> None:
        own = Agreement(what="loss", case="a", arithmetic="fp32", difference=None, tolerance=1.0)
        assert not own.agrees


class TestParts:
    @pytest.mark.thorough
    def test_runs_give_the_same_bits(self, subject: Subject) -> None:
        found = list(repeats(subject, "dkel", "fp32", "eager"))
        assert [(own.what, own.differs) for own in found] == [("again", None), ("resumed", None)]

    @pytest.mark.thorough
    def test_a_step_is_measured_and_what_the_device_has_not_is_refused(self, subject: Subject) -> None:
        speeds = Steps(subject)
        refused = speeds.refused("graph")
        assert refused is not None
        assert refused.refusal == "train.graph needs a CUDA device (here: cpu)"
        assert speeds.refused("eager") is None
        found = speeds.measured("independent", "resnet8", "fp32", "eager")
        assert found.images_per_s is not None
        assert 0 < found.images_per_s.low <= found.images_per_s.median <= found.images_per_s.high
        assert found.waits is False
        assert found.launches is not None
        assert found.launches > 100
        assert speeds.foretold("independent", "resnet20", "fp32", "eager") > speeds.preparation("eager")

    @pytest.mark.thorough
    def test_runs_side_by_side_report_their_rates(self, subject: Subject) -> None:
        run = subject.run("independent", "resnet8", "fp32", "eager")
        crowd = Crowd(run, subject.shape, CPU, 1)
        try:
            assert crowd.wait(120) == 1
            found = crowd.together(1, 0.1)
        finally:
            crowd.close()
        assert found is not None
        assert found.gain == 1
        assert found.images_per_s[0] > 0


class TestCell:
    def test_it_takes_its_epochs_at_the_measured_rates(self, subject: Subject) -> None:
        beside = Feeding(
            method="pcl",
            backbone="resnet32",
            augmentation_images_per_s=1000.0,
            evaluation_images_per_s=500.0,
            augmentation_share=0.1,
            evaluation_share=0.1,
        )
        crowd = [Together(runs=1, images_per_s=[1.0], gain=1.0), Together(runs=2, images_per_s=[0.8, 0.8], gain=1.6)]
        found = cell(subject, [step("resnet32", 100.0), step("resnet32", 250.0, "bf16")], crowd, [beside])
        assert (found.method, found.backbone, found.epochs, found.seeds) == ("pcl", "resnet32", 300, 3)
        training = {"fp32": 50_000 / 100, "bf16": 50_000 / 250}
        expected = {
            (precision, runs): 900 * (seconds + 50 + 20) / gain
            for precision, seconds in training.items()
            for runs, gain in ((1, 1.0), (2, 1.6))
        }
        assert {(own.precision, own.together): own.seconds for own in found.times} == pytest.approx(expected)
        assert [own.seconds for own in found.times] == sorted(expected.values())
        assert not any(own.scaled for own in found.times)

    def test_a_smaller_network_is_scaled_by_its_operations(self, subject: Subject) -> None:
        # of one network, whose operations are soon counted
        subject = replace(subject, methods=("independent", "dml"), cell_backbone="resnet14")
        measured = [step("resnet8", 100.0, method="independent"), step("resnet8", 1.0, method="dml")]
        found = cell(subject, measured, [], [])
        (own,) = found.times
        large, small = (
            operations_per_image(subject.run("independent", name, "fp32", "eager"), subject.shape).train
            for name in ("resnet14", "resnet8")
        )
        assert own.scaled
        assert own.seconds == pytest.approx(900 * 500 * large / small)

    def test_more_runs_than_seeds_do_not_count(self, subject: Subject) -> None:
        crowd = [Together(runs=4, images_per_s=[1.0] * 4, gain=3.0)]
        assert [own.together for own in cell(subject, [step("resnet32", 100.0)], crowd, []).times] == [1]


def test_the_page_has_a_table_for_every_part() -> None:
    found = Probe(
        device="A device",
        kind="cuda",
        versions={"torch": "2.15"},
        minutes=9.0,
        small=False,
        matrix_gflop_per_s={"tf32": 400_000.0},
        parts=[Part(title=title, ending="complete") for title in PARTS],
        agreements=[Agreement(what="loss", case="dml", arithmetic="tf32", difference=0.5, tolerance=0.01)],
        repeats=[Repeat(what="resumed", method="dml", precision="tf32", mode="graph", differs="metrics.1.loss")],
        steps=[
            StepSpeed(
                method="dml",
                backbone="resnet32",
                batch_size=128,
                precision="tf32",
                mode="graph",
                images_per_s=Range(median=30_000.0, low=29_000.0, high=31_000.0),
                matrix_share=0.11,
                launches=12,
                waits=True,
                peak_mib=512.0,
            ),
            StepSpeed(
                method="okdph", backbone="resnet32", batch_size=128, precision="tf32", mode="graph", refusal="it reads"
            ),
        ],
        together=[Together(runs=2, images_per_s=[100.0, 90.0], gain=1.9)],
    )
    text = page(found)
    for row in (
        "| loss dml | tf32         | 5.0e-01      | 0.01        | DIFFERS |",
        "| resumed | dml      | tf32        | graph  | DIFFERS: metrics.1.loss |",
        "| 30,000 (29,000 to 31,000) | 0.11           | 12         | yes     | 512   |",
        "| 2      | 100, 90            | 1.90   |",
    ):
        assert row in text
    assert Probe.model_validate_json(found.model_dump_json()) == found
