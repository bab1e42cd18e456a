"""The students' weights that a run keeps, and the networks that they are of."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, first_difference
from methods.backbones import make
from methods.errors import InputError, message_of


@dataclass(frozen=True)
class Student:
    """A student as it was saved."""

    network: nn.Module  # in eval mode: normalised images [B, C, H, W] to logits
    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str]  # of the file
    classes: list[str]  # in the order of the logits
    mean: list[float]  # of each channel, for pixels in [0, 1]
    std: list[float]


def read_student(path: Path, plugins: Sequence[str | Path] = ()) -> Student:
    """Return the student in a weight file of a run, or raise an InputError if it is none of this version's."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}") from None
    try:
        sizes = {key: int(metadata[key]) for key in ("num_classes", "in_channels", "image_size")}
        shared = int(metadata["shared_stages"]) if "shared_stages" in metadata else None
        network = make(metadata["backbone"], **sizes, plugins=plugins).network(shared).eval()
        network.load_state_dict(weights)
        mean, std = ([float(value) for value in json.loads(metadata[key])] for key in ("mean", "std"))
        classes = list(json.loads(metadata["classes"]))
        if not len(mean) == len(std) == sizes["in_channels"] or len(classes) != sizes["num_classes"]:
            raise ValueError("mean and std are not one per channel, or classes and num_classes differ")
    except KeyError as error:
        lacking = f"does not say its {error.args[0]}: bench run --save-students --force writes it anew"
        raise InputError(f"{path} {lacking}") from None
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} is not a student of this version's networks: {message_of(error)}") from None
    return Student(network, weights, metadata, classes, mean, std)


def check_files(runs: Iterable[RunConfig], sets: Mapping[str, Dataset]) -> None:
    """Refuse files that hyperparameters name, such as a teacher's weights, if they are of other classes than the data.

    Whether a file of another number of classes is of use, its method says. ``sets`` are the datasets by name.
    """
    for run in runs:
        classes = sets[run.dataset].classes
        for key in run.files:
            path = run.hyperparameters[key]
            named = _named_classes(Path(path))
            if len(named) == len(classes) and (differing := first_difference(named, classes)):
                index, its, given = differing
                order = " (the same names in another order)" if sorted(named) == sorted(classes) else ""
                raise InputError(
                    f"{run.method}.{key} {path}: its class {index} is {its!r}, that of {run.dataset} {given!r}{order}"
                )


def _named_classes(path: Path) -> list[str]:
    """Return the classes that a weight file says it is of, in the order of its logits; none if it does not say."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("classes", "null"))
    except (SafetensorError, OSError, ValueError):
        return []
    return list(map(str, found)) if isinstance(found, list) else []


class Normalised(nn.Module):
    """A network with its normalisation, in eval mode: it takes pixels / 255, in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[B, classes]`` for ``[B, C, H, W]`` in [0, 1]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits
