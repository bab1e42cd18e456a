"""What a run leaves to other programs: an exported student with its card, and predictions as arrays of numpy.

What is exported takes float images ``[B, C, H, W]`` of pixels / 255, in [0, 1], and returns logits ``[B, classes]``:
the normalisation is inside, so that nobody has to know it to get it right.
"""

import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.special import softmax

from benchmark import datasets
from benchmark.store import PREDICTIONS, Predictions, StoredRun, put, read_predictions, students_files
from methods.errors import InputError, message_of, unknown

Floats = npt.NDArray[np.float32]
Model = Callable[[Floats], Floats]
"""From pixels / 255 ``[B, C, H, W]`` to logits ``[B, classes]``."""


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
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise InputError(f"{path} is not the card of an exported student: {where}: {fault['msg']}") from None


def load(path: Path, plugins: Sequence[str | Path] = ()) -> Model:
    """Return the model in an exported file; none but a file of bare weights needs this package's networks.

    Raises:
        InputError: If it cannot be read, or the package that reads it is not installed.
    """
    loader = LOADERS[check_suffix(path)]
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        return loader(path, plugins)
    except (InputError, MemoryError):
        raise
    except ImportError as error:
        raise InputError(f"reading {path.name} needs {error.name}: pip install 'okdbench[onnx]'") from None
    except Exception as error:
        # every runtime has errors of its own for a damaged file
        kind = path.suffix.removeprefix(".")
        raise InputError(f"{path} is not a readable {kind} file: {message_of(error)}") from None


def check_suffix(path: Path, valid: Iterable[str] = ()) -> str:
    """Return the file's ending, or raise an InputError that lists the valid ones: those of exported students."""
    valid = tuple(valid) or tuple(LOADERS)
    if path.suffix not in valid:
        raise unknown("file ending", path.suffix or path.name, valid)
    return path.suffix


def read_images(paths: Sequence[Path], card: Card) -> Floats:
    """Return image files as ``[B, C, H, W]`` of pixels / 255, resized and cropped, or raise an InputError."""
    files = [datasets.EncodedImage.of_file(path) for path in paths]
    form = datasets.ImageFormat(card.in_channels, card.image_size)
    pixels = np.concatenate([block for block, _ in datasets.decoded(files, form)])
    return pixels.astype(np.float32) / np.float32(255)


def probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the softmax ``[B, classes]`` of logits."""
    result: npt.NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
    return result


def _load_onnx(path: Path, plugins: Sequence[str | Path]) -> Model:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def _load_pt2(path: Path, plugins: Sequence[str | Path]) -> Model:
    import torch

    # torch unpickles parts of the file, which can run anything: SECURITY.md counts it as code
    # it logs a traceback beside the error that it raises
    logging.getLogger("torch.export").setLevel(logging.CRITICAL)
    return as_model(torch.export.load(path).module())


def _load_safetensors(path: Path, plugins: Sequence[str | Path]) -> Model:
    from benchmark.training import Normalised, read_student

    card = read_card(path)
    return as_model(Normalised(read_student(path, plugins).network, card.mean, card.std))


def as_model(module: Callable[[Any], Any]) -> Model:
    """Return a torch module as a function of arrays."""
    import torch

    def call(images: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(images)).numpy())

    return call


LOADERS: Mapping[str, Callable[[Path, Sequence[str | Path]], Model]] = {
    ".safetensors": _load_safetensors,
    ".onnx": _load_onnx,
    ".pt2": _load_pt2,
}


# ---- predictions of a stored run on the images that it was scored on ----

PREDICTIONS_ENDING = ".npz"


def predictions_of_run(run: StoredRun, data_root: Path, plugins: Sequence[str] = ()) -> Predictions:
    """Return the predictions that a run kept, or what its saved students say of its images now.

    Args:
        run: Finished, with predictions or students.
        data_root: Where datasets are stored; only students need the run's own.

    Raises:
        InputError: If it kept neither, a file is damaged, or the run's images are not there.
    """
    if (run.folder / PREDICTIONS).is_file() or not students_files(run.folder):
        return read_predictions(run.folder)
    import torch

    from benchmark.training import predictions_of_students

    config = run.config
    if not datasets.present(config.dataset, data_root, plugins):
        raise InputError(f"{run.name} kept its students but no predictions, and {config.dataset} is not in {data_root}")
    if datasets.checksum(config.dataset, config.data, data_root, plugins) != config.dataset_checksum:
        raise InputError(f"the images of {config.dataset} are not here those that {run.name} was made with")
    dataset = datasets.load(config.dataset, config.data, data_root, plugins)
    return predictions_of_students(run.folder, config, dataset, torch.device("cpu"), plugins)


def write_predictions(found: Predictions, path: Path) -> list[str]:
    """Write predictions as arrays of numpy, and return what was written in words.

    The arrays are ``predictors`` and ``classes``, the names; ``logits`` ``[P, N, C]``, float32; ``predicted``
    ``[P, N]``, the likeliest classes; ``labels`` and ``images`` ``[N]``, as in
    :class:`benchmark.store.Predictions`.

    Raises:
        InputError: If it cannot be written.
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
    put(path, stream.getbuffer())
    shape = f"{len(names)} predictors, {len(found.labels)} {found.split} images, {len(found.classes)} classes"
    lines = [f"{path}: {shape} ({', '.join(names)})"]
    return lines if found.complete else [*lines, "from the saved students: no ensembles, no teachers"]
