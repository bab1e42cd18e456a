"""What a run leaves to other programs: an exported student with its card, and predictions as arrays of numpy.

What is exported takes float images ``[B, C, H, W]`` of pixels / 255, in [0, 1], and returns logits ``[B, classes]``:
the normalisation is inside, so that nobody has to know it to get it right.
"""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import softmax

from benchmark import datasets, store
from benchmark.errors import MachineError
from methods.errors import InputError, message_of, unknown

if TYPE_CHECKING:
    from benchmark.training import Normalised, Student

Floats = npt.NDArray[np.float32]
Model = Callable[[Floats], Floats]
"""From pixels / 255 ``[B, C, H, W]`` to logits ``[B, classes]``."""

ENDINGS = (".safetensors", ".onnx", ".pt2")
PREDICTIONS_ENDING = ".npz"

TOLERANCE = 1e-5
"""Of the logits that the exported file gives beside the student's own, absolute and relative."""

BATCHES = (1, 2, 7)
SCORED_AT_ONCE = 500


class Card(BaseModel):
    """What goes with an exported file, as ``<file>.json``."""

    model_config = ConfigDict(strict=True, frozen=True)

    input: str = Field(description="what the model takes")
    output: str = Field(description="what it returns")
    classes: list[str] = Field(min_length=2, description="the classes' names in the order of the logits")
    mean: list[float] = Field(description="of each channel, for pixels / 255; applied inside the exported model")
    std: list[float] = Field(description="of each channel, likewise")
    normalised_inside: bool = Field(description="false for bare weights: who loads them normalises")
    in_channels: int = Field(ge=1, description="1 (grey) or 3 (RGB)")
    image_size: int = Field(ge=1, description="height and width")
    accuracy: float | None = Field(description="of this student after the last epoch, in percent")
    scored_on: Literal["test", "validation"] = Field(description="what the accuracy was measured on")
    student: str
    run: str = Field(description="the run's identity")
    run_name: str
    method: str
    backbone: str
    dataset: str
    dataset_checksum: str
    seed: int
    epochs: int
    versions: dict[str, str] = Field(description="what the file was exported with")


def card_path(model: Path) -> Path:
    """Return the path of the card of an exported file."""
    return model.with_name(model.name + ".json")


def read_card(model: Path) -> Card:
    """Return the card of an exported file, or raise an InputError if there is none, or it is damaged."""
    path = card_path(model)
    try:
        return Card.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; it belongs beside {model.name}") from None
    except ValidationError as error:
        raise InputError(f"{path} is not the card of an exported student: {store.first_fault(error)}") from None


def check_suffix(path: Path, valid: Iterable[str] = ENDINGS) -> str:
    """Return the file's ending, or raise an InputError that lists the valid ones: those of exported students."""
    if path.suffix not in valid:
        raise unknown("file ending", path.suffix or path.name, valid)
    return path.suffix


def load(path: Path, plugins: Sequence[str | Path] = ()) -> Model:
    """Return the model in an exported file; none but a file of bare weights needs this package's networks.

    A file that cannot be read, and a package to read it that is not installed, raise an InputError.
    """
    suffix = check_suffix(path)
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        if suffix == ".onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            (name,) = (given.name for given in session.get_inputs())
            return lambda images: np.asarray(session.run(None, {name: images})[0])
        if suffix == ".pt2":
            import torch

            # torch unpickles parts of the file, which can run anything: SECURITY.md counts it as code
            # it logs a traceback beside the error that it raises
            logging.getLogger("torch.export").setLevel(logging.CRITICAL)
            return as_model(torch.export.load(path).module())
        from benchmark.training import Normalised, read_student

        card = read_card(path)
        return as_model(Normalised(read_student(path, plugins).network, card.mean, card.std))
    except (InputError, MemoryError):
        raise
    except ImportError as error:
        raise InputError(f"reading {path.name} needs {error.name}: pip install 'okdbench[onnx]'") from None
    except Exception as error:
        # every runtime has errors of its own for a damaged file
        raise InputError(f"{path} is not a readable {suffix[1:]} file: {message_of(error)}") from None


def as_model(module: Callable[[Any], Any]) -> Model:
    """Return a torch module as a function of arrays."""
    import torch

    def call(images: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(images)).numpy())

    return call


def read_images(paths: Sequence[Path], card: Card) -> Floats:
    """Return image files as ``[B, C, H, W]`` of pixels / 255, resized and cropped, or raise an InputError."""
    files = [datasets.EncodedImage.of_file(path) for path in paths]
    form = datasets.ImageFormat(card.in_channels, card.image_size)
    return _scaled(np.concatenate([block for block, _ in datasets.decoded(files, form)]))


def _scaled(pixels: datasets.Pixels) -> Floats:
    return pixels.astype(np.float32) / np.float32(255)


def probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the softmax ``[B, classes]`` of logits."""
    result: npt.NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
    return result


def export(
    run: store.StoredRun, target: Path, name: str | None, data_root: Path, plugins: Sequence[str | Path] = ()
) -> list[str]:
    """Write a student of a run to a file with its card, check the file by reading it back, and say what was done.

    The target's ending says the format. Without a name it is the first student. If the run's dataset is in the data
    root, the file is scored on it. An InputError is raised if the run has no such student or the file cannot be
    written, a MachineError if what is read back gives other numbers; the file is then not kept.
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
    card = _card(run, student, target)
    try:
        with store.writing(target), tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
            draft = Path(scratch) / target.name
            _write(model, student, card, draft)
            card_path(draft).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
            lines = _check(load(draft, plugins), as_model(model), card, run, data_root)
            draft.replace(target)
            card_path(draft).replace(card_path(target))
    except ImportError as error:
        raise InputError(f"writing {target.suffix} needs {error.name}: pip install 'okdbench[onnx]'") from None
    size = target.stat().st_size / 2**20
    return [f"{target}  {size:.2f} MiB: student {card.student} of {run.name}", *lines]


def _card(run: store.StoredRun, student: "Student", target: Path) -> Card:
    inside = target.suffix != ".safetensors"
    channels, side = int(student.metadata["in_channels"]), int(student.metadata["image_size"])
    pixels = "pixels / 255, in [0, 1]" if inside else "(pixels / 255 - mean) / std"
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
        run=store.identity_in(run.name),
        run_name=run.name,
        method=run.config.method,
        backbone=student.metadata["backbone"],
        dataset=run.config.dataset,
        dataset_checksum=run.config.dataset_checksum,
        seed=run.config.seed,
        epochs=run.config.train.epochs,
        versions=store.environment.versions(),
    )


def _write(model: "Normalised", student: "Student", card: Card, path: Path) -> None:
    import torch
    from safetensors.torch import save

    if path.suffix == ".safetensors":
        path.write_bytes(save(dict(student.weights), {**student.metadata, "accuracy": str(card.accuracy)}))
        return
    # two images: an exporter may take a batch of one for a constant
    images = (torch.zeros(2, card.in_channels, card.image_size, card.image_size),)
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
    onnx.helper.set_model_props(graph, {"okdbench": card.model_dump_json()})
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


def _check(exported: Model, original: Model, card: Card, run: store.StoredRun, data_root: Path) -> list[str]:
    """Return what was checked, or raise a MachineError."""
    random, worst = np.random.default_rng(0), 0.0
    for size in BATCHES:
        images = random.random((size, card.in_channels, card.image_size, card.image_size), dtype=np.float32)
        expected, given = original(images), exported(images)
        if not np.isfinite(expected).all():
            raise InputError(f"the outputs of {card.student} of {run.name} are not finite: not exported")
        worst = max(worst, float(np.abs(given - expected).max()))
        if not np.allclose(given, expected, rtol=TOLERANCE, atol=TOLERANCE):
            raise MachineError(f"the exported file gives other logits than the student, by up to {worst:.2g}: not kept")
    lines = [f"read back: the student's logits on {sum(BATCHES)} random images, to {worst:.1g}"]
    named, data = card.dataset, run.config.data
    try:
        here = datasets.present(named, data_root) and datasets.checksum(named, data, data_root) == card.dataset_checksum
    except InputError:
        here = False
    if not here:
        return [*lines, f"not scored: the images of {named} that it was made with are not in {data_root}"]
    part = datasets.load(named, data, data_root).test
    blocks = np.array_split(np.arange(len(part)), range(SCORED_AT_ONCE, len(part), SCORED_AT_ONCE))
    predicted = np.concatenate([exported(_scaled(part.take(block).images)).argmax(axis=1) for block in blocks])
    accuracy = 100 * int((predicted == part.labels).sum()) / len(part)
    lines.append(f"{card.scored_on} accuracy of the file: {accuracy:.4f} % ({len(part)} images)")
    if card.accuracy is not None and abs(accuracy - card.accuracy) > 1e-9:
        # the run may have been on a device of other rounding
        device = ((run.result and run.result.environment) or {}).get("hardware", "an unknown device")
        lines.append(f"note: the run itself noted {card.accuracy:.4f} %, on {device}")
    return lines


def write_predictions(found: store.Predictions, path: Path) -> str:
    """Write predictions as arrays of numpy, and return what was written in words.

    The arrays are ``predictors`` and ``classes``, the names; ``logits`` ``[P, N, C]``, float32; ``predicted``
    ``[P, N]``, the likeliest classes; ``labels`` and ``images`` ``[N]``, as in :class:`benchmark.store.Predictions`.
    A file that cannot be written raises an InputError.
    """
    names = list(found.logits)
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        predictors=np.array(names),
        classes=np.array(found.classes),
        logits=np.stack([found.logits[name] for name in names]),
        predicted=np.stack([found.predicted(name) for name in names]),
        labels=found.labels,
        images=found.images,
    )
    store.put(path, stream.getbuffer())
    shape = f"{len(names)} predictors, {len(found.labels)} {found.split} images, {len(found.classes)} classes"
    return f"{path}: {shape} ({', '.join(names)})"
