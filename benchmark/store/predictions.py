"""What a run's predictors said of every scored image after the last epoch, kept beside the run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from benchmark.configuration import LogitsType
from benchmark.store import atomic
from methods.errors import InputError, message_of, unknown

PREDICTIONS = "predictions.safetensors"
FORMAT = "1"

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_LOGITS, _HASH = "logits/", "sha256"


@dataclass(frozen=True)
class Predictions:
    """Logits of a run's predictors on the N scored images, of C classes, after the last epoch."""

    run: str  # its identity
    logits: Mapping[str, Floats]  # `[N, C]` by predictor: peers, ensembles, teachers, whatever the method predicts with
    labels: Indices  # `[N]`, class indices
    images: Indices  # `[N]`, a digest of each image's pixels: what two runs are joined by
    classes: tuple[str, ...]  # their names in the order of the logits
    students: tuple[str, ...]  # which of the predictors may be deployed
    split: str = "test"  # or `validation` if the images are a held-out part of the training set

    def of(self, predictor: str) -> Floats:
        """Return a predictor's logits ``[N, C]``, or raise an InputError if there is none of that name."""
        if predictor not in self.logits:
            raise unknown("predictor", predictor, self.logits)
        return self.logits[predictor]

    def predicted(self, predictor: str) -> Indices:
        """Return the class ``[N]`` that a predictor finds likeliest, the first of several."""
        return np.asarray(self.of(predictor).argmax(axis=1), dtype=np.int64)

    def confusion(self, predictor: str) -> Indices:
        """Return how many images ``[C, C]`` of the class of the row were taken for the class of the column."""
        count = len(self.classes)
        pairs = self.labels * count + self.predicted(predictor)
        return np.bincount(pairs, minlength=count * count).reshape(count, count).astype(np.int64)


def write_predictions(folder: Path, predictions: Predictions, kept_as: LogitsType = "float16") -> Path:
    """Write predictions into a run's folder, wholly or not at all.

    Logits are kept as the type that is given; those that float16 cannot hold, beyond 65,504, stay float32.
    """
    tensors: dict[str, NDArray[Any]] = {"labels": predictions.labels, "images": predictions.images}
    for name, logits in predictions.logits.items():
        wide = tensors[_LOGITS + name] = np.ascontiguousarray(logits, dtype=np.float32)
        with np.errstate(over="ignore"):
            half = wide.astype(np.float16)
        if kept_as == "float16" and np.array_equal(np.isfinite(half), np.isfinite(wide)):
            tensors[_LOGITS + name] = half
    metadata = {
        "format": FORMAT,
        "run": predictions.run,
        "classes": json.dumps(predictions.classes),
        "predictors": json.dumps([*predictions.logits]),
        "students": json.dumps(predictions.students),
        "split": predictions.split,
        "complete": "true",
    }
    metadata[_HASH] = _content(tensors, metadata)
    path = folder / PREDICTIONS
    atomic.write_bytes(path, save(tensors, metadata))
    return path


def read_predictions(folder: Path) -> Predictions:
    """Return the predictions in a run's folder, or raise an InputError if there are none, or the file is damaged."""
    path = folder / PREDICTIONS
    if not path.is_file():
        how = "bench run --save-predictions keeps them, and --force repeats a finished run"
        raise InputError(f"{folder.name} kept no predictions: {how}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r} is none that this version knows")
        if metadata[_HASH] != _content(tensors, metadata):
            raise ValueError("its content is not what was written")
        names = {key: tuple(map(str, json.loads(metadata[key]))) for key in ("predictors", "classes", "students")}
        logits = {name: tensors[_LOGITS + name].astype(np.float32) for name in names.pop("predictors")}
        images, labels = tensors["images"], tensors["labels"]
        found = Predictions(metadata["run"], logits, labels, images, split=metadata["split"], **names)
        shape = (len(found.labels), len(found.classes))
        if any(logits.shape != shape for logits in found.logits.values()) or found.images.shape != shape[:1]:
            raise ValueError(f"its tensors are not of {shape[0]} images and {shape[1]} classes")
        if shape[0] and not 0 <= found.labels.min() <= found.labels.max() < shape[1]:
            raise ValueError("its labels are no classes")
        return found
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else message_of(error)
        raise InputError(f"{path} is damaged: {reason}") from None


def students_files(folder: Path) -> list[Path]:
    """Return the files of the students' weights in a run's folder, by name."""
    return sorted(path for path in folder.glob("*.safetensors") if path.name != PREDICTIONS)


def _content(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """Return the hash of all that a file holds: the format itself would not notice a byte that has changed."""
    found = sha256(repr(sorted((key, value) for key, value in metadata.items() if key != _HASH)).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + tensor.tobytes())
    return found.hexdigest()
