"""Training on a GPU, as far as a CPU can tell: every method on a pretended CUDA device.

The same bits as on the CPU, tensors of one device in every operation, and no wait but those that are listed here.
"""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import methods
from benchmark.configuration import DataConfig, RunConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.scheduling import Execution, Job
from benchmark.store import Status
from benchmark.training import Trainer, checkpoints, evaluation
from methods import Outputs, Progress, registry
from tests.plans import on_noise
from tests.pretended_device import PretendedDevice, Wait

CLASSES, SIDE, BATCH, EPOCHS = 4, 8, 4, 2
IMAGES = random_dataset(Shape(3 * BATCH + 2, 4, CLASSES, 3, SIDE))
"""Three whole batches an epoch and a smaller one: a step is recorded in the second epoch, and replayed three times."""

EXACT: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "lr": 0.0625, "lr_factor": 0.5}
"""Rates that are the same in float32, which a recorded step reads."""

EVERYTHING: dict[str, Any] = {
    "diagnostics_every": 1,
    **{"optimizer": "adamw", "no_decay": "norm_and_bias", "label_smoothing": 0.1},
    **{"deterministic": True, "precision": "bf16", "warmup_epochs": 1.0, "warmup_from": 0.5},
}
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "everything": (EVERYTHING, {"augment": "randaugment", "erase": 0.5, "crop": "resized"}),
}
"""Settings of training and of data; the images of the second are kept on the host."""

WAITS = {
    ("benchmark/training/trainer.py", "__init__"): "the networks are moved to the device, once",
    ("benchmark/training/trainer.py", "load_state"): "a checkpoint likewise",
    ("benchmark/training/recorded.py", "count_on_the_host"): "counters of batches are moved to the host, once",
    ("benchmark/training/batches.py", "of"): "the normalisation is moved to the device, once",
    ("benchmark/training/policies.py", "__init__"): "the tables of a policy likewise",
    ("benchmark/datasets/placement.py", "on_device"): "labels likewise, and images where they fit",
    ("benchmark/training/trainer.py", "_train"): "the losses of an epoch, once after it",
    ("benchmark/training/evaluation.py", "evaluate"): "the scores of an epoch, once after it",
    ("benchmark/training/evaluation.py", "gradient_scores"): "diagnostics: the norms, once an epoch",
    ("benchmark/training/trainer.py", "save_students"): "weights to be written, once after the run",
    ("benchmark/training/evaluation.py", "predicted"): "predictions to be written, batch by batch after the run",
    ("methods/mcl_okd.py", "labels"): "the classes' sizes, once before the first step",
    ("methods/mcl_okd.py", "_load_from_state_dict"): "a checkpoint's memory bank is moved to the device",
    ("methods/switokd.py", "scores"): "the counts of an epoch, once after it",
    ("tests/training/test_pretended_device.py", "bits"): "the comparison itself",
}
"""Who may wait for the device, and why."""


PLUGIN = Path(__file__).with_name("small_plugin.py")


def few(method: str, folder: Path) -> dict[str, Any]:
    """What a method needs to be built at all, and as few peers as are several."""
    cls = registry.load(method)
    field = cls.Hyperparameters.model_fields.get("peers")
    peers = {"peers": 2} if field is not None and field.get_default() > 2 else {}
    return {**peers, **cls.example(folder, "resnet8", CLASSES, 3, SIDE)}


def configured(method: str, variant: str, folder: Path, **train: Any) -> RunConfig:
    """A run of the plug-in's network; ``folder`` is for a teacher's weights."""
    more, data = VARIANTS[variant]
    run = on_noise(method, DataConfig(pad=1, **data), (), few(method, folder), **EXACT | more | train)
    return run.model_copy(update={"backbone": "two_layers"})


def begun(config: RunConfig, device: str) -> Trainer:
    made = Trainer(config, IMAGES, torch.device(device), (PLUGIN,))
    # a memory bank is initialised on the CPU: what is sampled in steps is to be the same on the device
    torch.manual_seed(0)
    return made


def outcome(config: RunConfig, device: str, folder: Path, resumed: bool = False) -> dict[str, Any]:
    """Two epochs, from a checkpoint after the first one if wanted, and all that is kept of them."""
    folder.mkdir()
    trainer = begun(config, device)
    rows = [trainer.epoch()]
    if resumed:
        checkpoints.save(folder, trainer.state())
        trainer = begun(config, device)
        state = checkpoints.load(folder)
        assert state is not None
        trainer.load_state(state)
    rows.append(trainer.epoch())
    notes = trainer.take_notes()
    trainer.save_students(folder)
    return {
        "notes": notes,
        "rows": [
            {name: value.hex() for name, value in row.items() if name not in ("seconds", "epoch")} for row in rows
        ],
        "state": {key: bits(value) for key, value in trainer.method.state_dict().items()},
        "optimizer": [bits(value) for own in trainer.optimizer.state.values() for value in own.values()],
        "students": {
            f"{path.name} {key}": bits(value)
            for path in sorted(folder.glob("*.safetensors"))
            for key, value in load_file(path).items()
        },
        "predictions": {name: logits.tobytes() for name, logits in trainer.predictions().logits.items()},
    }


def bits(value: Any) -> bytes:
    return value.detach().cpu().numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", methods.available())
def test_a_run_has_the_bits_of_the_cpu(method: str, variant: str, tmp_path: Path) -> None:
    config = configured(method, variant, tmp_path)
    expected = outcome(config, "cpu", tmp_path / "cpu")
    with PretendedDevice(free_bytes=0 if variant == "everything" else 2**30) as device:
        assert outcome(config, "cuda", tmp_path / "plain", resumed=True) == expected
        recorded = configured(method, variant, tmp_path, graph=True)
        assert outcome(recorded, "cuda", tmp_path / "recorded") == expected
        assert [graph.replays for graph in device.graphs] == [3]
    assert unexpected(device) == set()


def unexpected(device: PretendedDevice) -> set[Wait]:
    return {wait for wait in device.waits if (wait.file, wait.function) not in WAITS}


def operations(method: str, device: PretendedDevice, folder: Path, backbone: str = "resnet8", **data: Any) -> int:
    """Operations of one standard step and of making its batch; it waits for nothing."""
    changed = {"backbone": backbone, "data": DataConfig(**data)}
    config = configured(method, "defaults", folder).model_copy(update=changed)
    trainer = begun(config, "cuda")
    batches = trainer.batches.of_epoch("order", "augmentation", 0)
    for number, (batch, _) in enumerate(batches):
        trainer.train_step(batch, Progress(0, number, EPOCHS))
        if number == 1:
            break
        device.operations = 0
        device.waits.clear()
    assert device.waits == []
    return device.operations


def test_a_policy_and_erasing_take_few_operations(tmp_path: Path) -> None:
    with PretendedDevice() as device:
        plain, trivial, erased = (
            operations("independent", device, tmp_path, pad=1, **data)
            for data in ({}, {"augment": "trivialaugment"}, {"erase": 0.5})
        )
    assert trivial - plain <= 300
    assert erased - plain <= 30


def test_frozen_parameters_take_few_operations(tmp_path: Path) -> None:
    with PretendedDevice() as device:
        assert operations("switokd", device, tmp_path, "resnet20") <= 900


def test_a_mean_teacher_takes_few_launches(tmp_path: Path) -> None:
    with PretendedDevice() as device:
        trainer = begun(configured("pcl", "defaults", tmp_path), "cuda")
        device.launches = 0
        device.waits.clear()
        trainer.method.after_step(Progress(0, 5, EPOCHS))
        assert 1 <= device.launches <= 10
        assert device.waits == []


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_losses_are_computed_in_full_precision(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def losses(outputs: Outputs, labels: torch.Tensor, progress: Progress) -> dict[str, torch.Tensor]:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.is_autocast_enabled("cpu"), outputs.peers.dtype))
        return compute(outputs, labels, progress)

    with PretendedDevice():
        trainer = begun(configured("mcl", "defaults", tmp_path, precision=precision), "cuda")
        compute = trainer.method.losses
        monkeypatch.setattr(trainer.method, "losses", losses)
        trainer.epoch()
        assert torch.backends.cuda.matmul.allow_tf32
    assert set(seen) == {(False, False, torch.float32)}


def test_a_run_whose_capture_fails_is_repeated_with_standard_steps(tmp_path: Path) -> None:
    config = configured("dml", "defaults", tmp_path, graph=True)
    rows: dict[bool, list[dict[str, float]]] = {}
    for failing in (False, True):
        with PretendedDevice() as device:
            device.failing_capture = failing
            execution = Execution(config, Job(tmp_path / str(failing), "cuda", plugins=(str(PLUGIN),)), IMAGES)
            events = list(execution.train())
            found = [what for kind, what in events if kind == "epoch"]
            rows[failing] = [{name: value for name, value in row.items() if name != "seconds"} for row in found]
        assert execution.result is not None
        assert execution.result.status is Status.FINISHED, execution.result.reason
        assert [graph.replays for graph in device.graphs] == [0 if failing else 3]
        assert any(kind == "note" and "capture" in what for kind, what in events) == failing
    # from the checkpoint after the first epoch
    assert rows[True] == rows[False]


def test_a_trainer_is_freed_with_its_weights(tmp_path: Path) -> None:
    with PretendedDevice() as device:
        trainer = begun(configured("pcl", "defaults", tmp_path, graph=True), "cuda")
        trainer.epoch()
        trainer.epoch()
        weight = weakref.ref(next(trainer.method.parameters()))
        gc.disable()
        try:
            device.graphs.clear()
            del trainer
            assert weight() is None
        finally:
            gc.enable()


BANK = torch.zeros(100)

MISTAKES: dict[str, Callable[[Outputs, torch.Tensor], object]] = {
    "a tensor made without a device": lambda outputs, labels: outputs.peers * torch.ones(CLASSES),
    "the CPU's generator": lambda outputs, labels: torch.rand(2, generator=torch.Generator(), device=labels.device),
    "a memory bank on the CPU": lambda outputs, labels: outputs.peers[0, :, 0] - BANK[labels],
    "item": lambda outputs, labels: outputs.peers.sum().item(),
    "float": lambda outputs, labels: float(outputs.peers.detach().sum()),
    "bool": lambda outputs, labels: bool(outputs.peers.sum() > 0),
    "tolist": lambda outputs, labels: labels.tolist(),
    "cpu": lambda outputs, labels: labels.cpu(),
    "to": lambda outputs, labels: labels.to("cpu"),
    "numpy": lambda outputs, labels: labels.numpy(),
    "a mask": lambda outputs, labels: labels[labels > 0],
    "nonzero": lambda outputs, labels: torch.nonzero(labels),
    "a tensor of the host's numbers": lambda outputs, labels: torch.tensor([1.0], device=labels.device),
    "a list as index": lambda outputs, labels: labels[[0, 1]],
    "lists as index": lambda outputs, labels: outputs.peers[:, [0, 1]],
}
"""The first three are errors, on a GPU too; the others make the host wait."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_step_is_found(mistake: str, tmp_path: Path) -> None:
    with PretendedDevice() as device:
        trainer = mistaken_trainer(tmp_path, MISTAKES[mistake])
        batch, _ = next(trainer.batches.of_epoch("order", "augmentation", 0))
        device.waits.clear()
        error = None
        try:
            trainer.train_step(batch, Progress(0, 0, EPOCHS))
        except (RuntimeError, TypeError) as caught:
            error = caught
    assert bool(error) != bool(unexpected(device))


def mistaken_trainer(folder: Path, mistake: Callable[..., object]) -> Trainer:
    changed = {"method": "mistaken", "hyperparameters": {"peers": 2}}
    trainer = begun(configured("independent", "defaults", folder).model_copy(update=changed), "cuda")
    method: Any = trainer.method
    method.mistake = mistake
    return trainer


def test_a_step_without_a_mistake_and_a_wait_in_diagnostics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PretendedDevice() as device:
        trainer = mistaken_trainer(tmp_path, lambda outputs, labels: None)
        trainer.epoch()
        assert unexpected(device) == set()
        sums = evaluation.batch_sums
        monkeypatch.setattr(evaluation, "batch_sums", lambda logits, labels, *rest: sums(logits, labels.cpu(), *rest))
        with pytest.raises(RuntimeError, match="same device"):
            trainer.epoch()
        assert unexpected(device)
