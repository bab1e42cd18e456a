"""A student is taken away from its run: the file, its card, and its logits."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import safe_open

from benchmark import datasets, store
from benchmark.deployment import deployed
from benchmark.deployment.deployed import export
from benchmark.errors import MachineError
from methods.errors import InputError
from tests import needs
from tests.command_line import Bench

FORMATS = (".safetensors", ".onnx", ".pt2")
Exported = dict[str, tuple[Path, list[str]]]


@pytest.fixture(autouse=True)
def needs_onnx(request: pytest.FixtureRequest) -> None:
    """The extra ``onnx`` is part of ``dev``; without it only the tests of .onnx are skipped."""
    if "onnx" in request.node.name:
        needs.extra("onnx", "onnx", "onnxruntime", "onnxscript")


@pytest.fixture(scope="module")
def exported(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One run's student in every format that can be written here, with what the export said."""
    folder = tmp_path_factory.mktemp("exported")
    run = store.find(finished_runs, "pcl-digits-resnet8-s0")
    found = {}
    for suffix in FORMATS:
        path = folder / f"student{suffix}"
        try:
            found[suffix] = path, export(run, path, None)
        except InputError:
            # the tests of that format are skipped
            continue
    return found


def card_of(path: Path) -> SimpleNamespace:
    return SimpleNamespace(**json.loads(deployed.card_path(path).read_bytes()))


def logits_of(path: Path, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return deployed.load(path)(torch.from_numpy(images)).numpy(force=True)


@pytest.mark.parametrize("suffix", FORMATS)
class TestEveryFormat:
    def test_the_card_says_what_a_user_needs(self, suffix: str, exported: Exported, finished_runs: Path) -> None:
        path, _ = exported[suffix]
        run = store.find(finished_runs, "pcl-digits-resnet8-s0")
        card = card_of(path)
        assert card.classes == list("0123456789")
        assert (card.in_channels, card.image_size, card.scored_on) == (1, 8, "test")
        assert (card.run, card.method, card.backbone, card.seed) == (run.identity, "pcl", "resnet8", 0)
        assert card.accuracy == run.last_metrics[f"top1/{card.student}"]
        assert card.normalised_inside == (suffix != ".safetensors")
        dataset = datasets.load("digits", run.config.data, Path())
        assert (tuple(card.mean), tuple(card.std)) == (dataset.mean, dataset.std)

    def test_the_accuracy_is_the_runs_to_the_digit(self, suffix: str, exported: Exported, finished_runs: Path) -> None:
        path, said = exported[suffix]
        assert "read back: the student's logits on 10 random images" in said[1]
        card = card_of(path)
        run = store.find(finished_runs, card.run)
        test = datasets.load("digits", run.config.data, Path()).test
        logits = logits_of(path, test.images.astype(np.float32) / np.float32(255))
        accuracy = 100 * float((logits.argmax(axis=1) == test.labels).mean())
        assert accuracy == pytest.approx(card.accuracy, abs=1e-12)

    def test_any_number_of_images_goes_in(self, suffix: str, exported: Exported) -> None:
        path, _ = exported[suffix]
        images = np.random.default_rng(3).random((5, 1, 8, 8), dtype=np.float32)
        together = logits_of(path, images)
        apart = np.concatenate([logits_of(path, images[i : i + 1]) for i in range(5)])
        np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-4)


def test_an_onnx_file_has_its_card_and_no_path_of_this_machine(exported: Exported) -> None:
    import onnx

    path, _ = exported[".onnx"]
    graph = onnx.load(str(path))
    card = {entry.key: entry.value for entry in graph.metadata_props}["okdbench"]
    assert json.loads(card)["classes"] == list("0123456789")
    assert [value.name for value in (*graph.graph.input, *graph.graph.output)] == ["images", "logits"]
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


def test_a_weight_file_can_teach_another_run(exported: Exported) -> None:
    from methods.backbones import make
    from methods.kd import load_network

    load_network(exported[".safetensors"][0], make("resnet8", 10, 1, 8))


def test_what_a_run_saves_says_what_its_data_were(finished_runs: Path) -> None:
    for path in (finished_runs / "runs").glob("*/*.safetensors"):
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
        assert json.loads(metadata["classes"]) == list("0123456789")
        assert len(json.loads(metadata["mean"])) == len(json.loads(metadata["std"])) == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "fragment"),
        [
            ("pcl-digits-resnet8-s0 --to s.onx", "unknown file ending '.onx', did you mean '.onnx'?"),
            ("pcl-digits-resnet8-s9 --to s.pt2", "unknown run 'pcl-digits-resnet8-s9', did you mean"),
            ("pcl --to s.pt2", " 2 runs: pcl-digits-resnet8-s0-"),
            ("dml-digits-resnet8-s0 --to s.pt2 --student peer7", "unknown student 'peer7', did you mean 'peer"),
        ],
    )
    def test_bad_words(self, words: str, fragment: str, finished_runs: Path, tmp_path: Path, bench: Bench) -> None:
        bench("export", *words.split(), "--results", finished_runs).assert_refused(fragment)
        assert list(tmp_path.iterdir()) == []

    def test_a_run_without_students(self, finished_runs: Path, tmp_path: Path) -> None:
        folder = next((finished_runs / "runs").glob("dml-*-s0-*"))
        bare = tmp_path / "runs" / folder.name
        bare.mkdir(parents=True)
        for name in ("config.yaml", "metrics.jsonl", "result.json"):
            (bare / name).write_bytes((folder / name).read_bytes())
        with pytest.raises(InputError, match="--save-students"):
            export(store.find(tmp_path, "dml"), tmp_path / "s.pt2", None)

    def test_a_file_that_gives_other_logits_is_not_kept(
        self, finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = deployed.load

        def off(path: Path, plugins: Sequence[str | Path] = ()) -> deployed.Model:
            model = real(path, plugins)
            return lambda images: model(images) + 1e-3

        monkeypatch.setattr(deployed, "load", off)
        with pytest.raises(MachineError, match="other logits than the student, by up to"):
            export(store.find(finished_runs, "dml-digits-resnet8-s1"), tmp_path / "s.pt2", None)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "there"), [("digits", True), ("cifar10", False), ("tinyimagenet", False)])
def test_what_is_at_hand_is_known_without_loading_it(name: str, there: bool, tmp_path: Path) -> None:
    assert datasets.present(name, tmp_path) is there
    assert datasets.present(f"folder:{tmp_path}", tmp_path)
    assert list(tmp_path.iterdir()) == []
