"""A run's student as a file that works away from this repository."""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from benchmark import datasets
from benchmark.datasets import Indices, Pixels
from benchmark.deployment import deployed
from benchmark.deployment.deployed import Card, Floats, Model
from benchmark.errors import MachineError
from benchmark.store import StoredRun, atomic, environment, students_files, writing
from benchmark.training import Normalised, Student, read_student
from methods.errors import InputError, unknown

TOLERANCE = 1e-5
"""Of the logits that the exported file gives beside the student's own, absolute and relative."""

BATCHES = (1, 2, 7)
SCORED_AT_ONCE = 500


def export(
    run: StoredRun, target: Path, name: str | None, data_root: Path, plugins: Sequence[str | Path] = ()
) -> list[str]:
    """Write a student to a file with its card, check the file by reading it back, and say what was done.

    Args:
        run: It must have been run with ``--save-students``.
        target: Its ending says the format.
        name: Of the student; the first one for None.
        data_root: Where datasets are stored; if the run's is there, the file is scored on it.

    Raises:
        InputError: If the run has no such student, or the file cannot be written.
        MachineError: If what is read back gives other numbers; the file is then not kept.
    """
    writer = WRITERS[deployed.check_suffix(target)]
    student = read_student(_weights(run, name), plugins)
    model = Normalised(student.network, student.mean, student.std)
    card = _card(run, student, target)
    try:
        with writing(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
            draft = Path(scratch) / target.name
            with _quiet():
                writer(model, student, card, draft)
            atomic.write_text(deployed.card_path(draft), card.model_dump_json(indent=2) + "\n")
            lines = _check(deployed.load(draft, plugins), model, card, run, data_root)
            draft.replace(target)
            deployed.card_path(draft).replace(deployed.card_path(target))
    except ImportError as error:
        raise InputError(f"writing {target.suffix} needs {error.name}: pip install 'okdbench[onnx]'") from None
    size = target.stat().st_size / 2**20
    return [f"{target}  {size:.2f} MiB: student {student.metadata['student']} of {run.name}", *lines]


def _weights(run: StoredRun, name: str | None) -> Path:
    saved = [path.stem for path in students_files(run.folder)]
    if not saved:
        raise InputError(f"{run.name} kept no students: bench run --save-students keeps them (with --force, anew)")
    # the run's own order, of which the first is the default
    students = [student for student in (run.result.students if run.result else ()) if student in saved] or saved
    if name is not None and name not in students:
        raise unknown("student", name, students)
    return run.folder / f"{name or students[0]}.safetensors"


def _card(run: StoredRun, student: Student, target: Path) -> Card:
    inside = target.suffix != ".safetensors"
    channels, side = int(student.metadata["in_channels"]), int(student.metadata["image_size"])
    pixels = "(pixels / 255 - mean) / std" if not inside else "pixels / 255, in [0, 1]"
    accuracy = run.last_metrics().get(f"top1/{student.metadata['student']}")
    return Card(
        input=f"float32 [batch, {channels}, {side}, {side}]: {pixels}, {'grey' if channels == 1 else 'RGB'}",
        output=f"float32 [batch, {len(student.classes)}]: logits",
        classes=student.classes,
        mean=student.mean,
        std=student.std,
        normalised_inside=inside,
        in_channels=channels,
        image_size=side,
        accuracy=None if accuracy is None else float(accuracy),
        scored_on="validation" if run.config.data.holdout else "test",
        student=student.metadata["student"],
        run=run.identity,
        run_name=run.name,
        method=run.config.method,
        backbone=student.metadata["backbone"],
        dataset=run.config.dataset,
        dataset_checksum=run.config.dataset_checksum,
        seed=run.config.seed,
        epochs=run.config.train.epochs,
        versions=environment.versions(),
    )


def _check(exported: Model, model: Normalised, card: Card, run: StoredRun, data_root: Path) -> list[str]:
    """Return what was checked, or raise a MachineError."""
    original = deployed.as_model(model)
    random = np.random.default_rng(0)
    worst = 0.0
    for size in BATCHES:
        images = random.random((size, card.in_channels, card.image_size, card.image_size), dtype=np.float32)
        expected, given = original(images), exported(images)
        if not np.isfinite(expected).all():
            raise InputError(f"the outputs of {card.student} of {run.name} are not finite: not exported")
        apart = float(np.abs(given - expected).max())
        if not np.allclose(given, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise MachineError(f"the exported file gives other logits than the student, by up to {apart:.2g}: not kept")
        worst = max(worst, apart)
    lines = [f"read back: the student's logits on {sum(BATCHES)} random images, to {worst:.1g}"]
    dataset = _at_hand(run, data_root)
    if dataset is None:
        return [*lines, f"not scored: {card.dataset} is not in {data_root}"]
    pixels, labels = dataset.test.images, dataset.test.labels
    accuracy = _accuracy(exported, pixels, labels)
    if accuracy != (own := _accuracy(original, pixels, labels)):
        raise MachineError(f"the exported file scores {accuracy:.4f} %, the student {own:.4f} %: not kept")
    lines.append(f"{card.scored_on} accuracy of the file: {accuracy:.4f} % ({len(labels)} images)")
    if card.accuracy is not None and abs(accuracy - card.accuracy) > 1e-9:
        # the run may have been on a device of other rounding
        found = (run.result.environment or {}) if run.result else {}
        device = found.get("hardware", "an unknown device")
        lines.append(f"note: the run itself noted {card.accuracy:.4f} %, on {device}")
    return lines


def _at_hand(run: StoredRun, data_root: Path) -> datasets.Dataset | None:
    config = run.config
    try:
        if not datasets.present(config.dataset, data_root):
            return None
        if datasets.checksum(config.dataset, config.data, data_root) != config.dataset_checksum:
            return None
        return datasets.load(config.dataset, config.data, data_root)
    except InputError:
        return None


def _accuracy(model: Model, pixels: Pixels, labels: Indices) -> float:
    hits = 0
    for start in range(0, len(labels), SCORED_AT_ONCE):
        batch: Floats = pixels[start : start + SCORED_AT_ONCE].astype(np.float32) / np.float32(255)
        hits += int((model(batch).argmax(axis=1) == labels[start : start + SCORED_AT_ONCE]).sum())
    return 100 * hits / len(labels)


def _example(card: Card) -> tuple[tuple[torch.Tensor], dict[str, Any]]:
    """Return what an exporter calls a model with, and which of its axes may have any length."""
    # two images: an exporter may take a batch of one for a constant
    images = torch.zeros(2, card.in_channels, card.image_size, card.image_size)
    return (images,), {"images": {0: torch.export.Dim("batch", min=1)}}


def _write_onnx(model: Normalised, student: Student, card: Card, path: Path) -> None:
    import onnx
    import onnxscript  # noqa: F401 - what torch's exporter needs, named here for the message
    from torch.onnx import export as to_onnx

    given, shapes = _example(card)
    to_onnx(
        model,
        given,
        str(path),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    graph = onnx.load(str(path))
    # the exporter notes source lines of this machine in every node
    for node in graph.graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(graph, {"okdbench": card.model_dump_json()})
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def _write_pt2(model: Normalised, student: Student, card: Card, path: Path) -> None:
    given, shapes = _example(card)
    torch.export.save(torch.export.export(model, given, dynamic_shapes=shapes), path)


def _write_safetensors(model: Normalised, student: Student, card: Card, path: Path) -> None:
    atomic.write_bytes(path, save(dict(student.weights), {**student.metadata, "accuracy": str(card.accuracy)}))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' chatter off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    os.environ.setdefault("TORCH_ONNX_VERBOSE", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


WRITERS: Mapping[str, Callable[[Normalised, Student, Card, Path], None]] = {
    ".safetensors": _write_safetensors,
    ".onnx": _write_onnx,
    ".pt2": _write_pt2,
}
