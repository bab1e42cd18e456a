"""What a run leaves to other programs: an exported student with its card, and predictions as arrays of numpy.

What is exported takes float images ``[B, C, H, W]`` of pixels / 255, in [0, 1], and returns logits ``[B, classes]``:
the normalisation is inside, so that nobody has to know it to get it right.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import store
from benchmark.errors import MachineError
from methods.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.training import Normalised, Student

Model = Callable[["Tensor"], "Tensor"]
"""From pixels / 255 ``[B, C, H, W]`` to logits ``[B, classes]``."""

ENDINGS = (".safetensors", ".onnx", ".pt2")

TOLERANCE = 1e-5
"""Of the logits that the exported file gives beside the student's own, absolute and relative."""

BATCHES = (1, 2, 7)


def card_path(model: Path) -> Path:
    """Return the path of the card of an exported file."""
    return model.with_name(model.name + ".json")


def check_suffix(path: Path, valid: Iterable[str] = ENDINGS) -> None:
    """Raise an InputError that lists the valid endings, those of exported students, if a file has none of them."""
    if path.suffix not in valid:
        raise unknown("file ending", path.suffix or path.name, valid)


def export(run: store.StoredRun, target: Path, name: str | None, plugins: Sequence[str | Path] = ()) -> list[str]:
    """Write a student of a run to a file with its card, check the file by reading it back, and say what was done.

    The target's ending says the format. Without a name it is the first student. An InputError is raised if the run has
    no such student or the file cannot be written, a MachineError if what is read back gives other numbers; the file is
    then not kept.
    """
    check_suffix(target)
    saved = [path.stem for path in store.students_files(run.folder)]
    if not saved:
        raise InputError(f"{run.name} kept no students: bench run --save-students keeps them (with --force, anew)")
    # the run's own order, of which the first is the default
    students = [student for student in (run.result.students if run.result else ()) if student in saved] or saved
    if name is not None and name not in students:
        raise unknown("student", name, students)
    from benchmark.training import Normalised, read_student

    student = read_student(run.folder / f"{name or students[0]}.safetensors", plugins)
    model = Normalised(student.network, student.mean, student.std)
    card = _card(run, student, inside=target.suffix != ".safetensors")
    try:
        with store.writing(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
            draft = Path(scratch) / target.name
            _write(model, student, card, draft)
            card_path(draft).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            worst = _furthest(load(draft, plugins), model, card)
            draft.replace(target)
            card_path(draft).replace(card_path(target))
    except ImportError as error:
        raise InputError(f"writing {target.suffix} needs {error.name}: pip install 'okdbench[onnx]'") from None
    size = target.stat().st_size / 2**20
    return [
        f"{target}  {size:.2f} MiB: student {card['student']} of {run.name}",
        f"read back: the student's logits on {sum(BATCHES)} random images, to {worst:.1g}",
    ]


def load(path: Path, plugins: Sequence[str | Path] = ()) -> Model:
    """Return the model in a file that :func:`export` has written here: torch unpickles parts of a ``.pt2`` file."""
    import torch

    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    from benchmark.training import Normalised, read_student

    student = read_student(path, plugins)
    return Normalised(student.network, student.mean, student.std)


def _card(run: store.StoredRun, student: "Student", inside: bool) -> dict[str, Any]:
    """Return what goes with an exported file, as ``<file>.json``; ``inside`` says whether the model normalises."""
    channels, side = int(student.metadata["in_channels"]), int(student.metadata["image_size"])
    pixels = "pixels / 255, in [0, 1]" if inside else "(pixels / 255 - mean) / std"
    return {
        "input": f"float32 [batch, {channels}, {side}, {side}]: {pixels}, {'grey' if channels == 1 else 'RGB'}",
        "output": f"float32 [batch, {len(student.classes)}]: logits",
        "classes": student.classes,
        "mean": student.mean,  # of each channel, for pixels / 255
        "std": student.std,
        "normalised_inside": inside,  # false for bare weights: who loads them normalises
        "in_channels": channels,
        "image_size": side,
        "accuracy": run.last_metrics.get(f"top1/{student.metadata['student']}"),  # in percent, or null
        "scored_on": "validation" if run.config.data.holdout else "test",
        "student": student.metadata["student"],
        "run": store.identity_in(run.name),
        "run_name": run.name,
        "method": run.config.method,
        "backbone": student.metadata["backbone"],
        "dataset": run.config.dataset,
        "dataset_checksum": run.config.dataset_checksum,
        "seed": run.config.seed,
        "epochs": run.config.train.epochs,
        "versions": store.environment.versions(),  # of what the file was exported with
    }


def _write(model: "Normalised", student: "Student", card: dict[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file(dict(student.weights), path, {**student.metadata, "accuracy": str(card["accuracy"])})
        return
    # two images: an exporter may take a batch of one for a constant
    images = (torch.zeros(2, card["in_channels"], card["image_size"], card["image_size"]),)
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
    silenced = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".pt2":
                torch.export.save(torch.export.export(model, images, dynamic_shapes=shapes), path)
                return
            import onnx
            import onnxscript  # noqa: F401 - what torch's exporter needs, named here for the message
            from torch.onnx import export as to_onnx

            names: Any = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": shapes}
            to_onnx(model, images, str(path), **names, dynamo=True, external_data=False, verbose=False)
    finally:
        logging.disable(silenced)
    graph = onnx.load(str(path))
    # the exporter notes source lines of this machine in every node
    for node in graph.graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(graph, {"okdbench": json.dumps(card, ensure_ascii=False)})
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def _furthest(exported: Model, original: Model, card: dict[str, Any]) -> float:
    """Return by how much logits on random images differ at most, or raise a MachineError if that is too much."""
    import torch

    random, worst = np.random.default_rng(0), 0.0
    for size in BATCHES:
        shape = size, card["in_channels"], card["image_size"], card["image_size"]
        images = torch.from_numpy(random.random(shape, dtype=np.float32))
        with torch.no_grad():
            expected, given = original(images), exported(images)
        if not expected.isfinite().all():
            raise InputError(f"the outputs of {card['student']} of {card['run_name']} are not finite: not exported")
        worst = max(worst, float((given - expected).abs().max()))
        if not given.allclose(expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise MachineError(f"the exported file gives other logits than the student, by up to {worst:.2g}: not kept")
    return worst


def write_predictions(found: store.Predictions, path: Path) -> str:
    """Write predictions as arrays of numpy, and return what was written in words.

    The arrays are ``predictors`` and ``classes``, the names; ``logits`` ``[P, N, C]``, float32; ``predicted``
    ``[P, N]``, the likeliest classes; ``labels`` and ``images`` ``[N]``, as in :class:`benchmark.store.Predictions`.
    A file that cannot be written raises an InputError.
    """
    names = list(found.logits)
    with store.writing(path), store.atomic.replacing(path) as stream:
        np.savez_compressed(
            stream,
            predictors=np.array(names),
            classes=np.array(found.classes),
            logits=np.stack([found.logits[name] for name in names]),
            predicted=np.stack([found.predicted(name) for name in names]),
            labels=found.labels,
            images=found.images,
        )
    shape = f"{len(names)} predictors, {len(found.labels)} {found.split} images, {len(found.classes)} classes"
    return f"{path}: {shape} ({', '.join(names)})"
