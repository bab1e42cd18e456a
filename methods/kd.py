"""Knowledge distillation from a trained teacher, in two stages."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from methods.backbones import Backbone, make
from methods.errors import InputError
from methods.hyperparameters import BaseHyperparameters, file_field
from methods.interface import Outputs, Progress
from methods.metrics import Role
from methods.objectives import cross_entropy, distillation_loss
from methods.peers import SeparatePeers


class KD(SeparatePeers):
    """Offline distillation: a network learns from the labels and from a teacher that was trained before.

    ``L = CE(z_s) + w KL_T(z_s <- sg z_t)``. The teacher is a weight file of an earlier run; it predicts in eval mode
    on the student's view and never changes.

    Source: Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural Network", section 2, with the
    weights of OKDDip's released code.
    """

    name = "kd"
    year = 2015
    mixed_labels = True
    mixed_backbones = False

    class Hyperparameters(BaseHyperparameters):
        """The values of OKDDip's code; the teacher has to be named."""

        teacher: str = file_field("path of the teacher's weights, a student's .safetensors file")
        temperature: float = Field(3.0, gt=0, description="T of the distillation term")
        weight: float = Field(1.0, ge=0, description="weight of the distillation term")

    hyperparameters: Hyperparameters

    def __init__(self, backbones: Sequence[Backbone], hyperparameters: Hyperparameters) -> None:
        super().__init__(backbones, hyperparameters, 1)
        try:
            path = Path(hyperparameters.teacher).expanduser()
        except RuntimeError as error:
            raise InputError(f"kd.teacher: {error}") from None
        metadata, weights, content_hash = _read(path)
        self.loaded_files = {"teacher": content_hash}
        self.teacher = _network(path, backbones[0], metadata, weights).eval().requires_grad_(False)

    @classmethod
    def example(
        cls, folder: Path, backbone: str, num_classes: int, in_channels: int, image_size: int
    ) -> dict[str, Any]:
        """Write an untrained teacher of the student's architecture."""
        network = make(backbone, num_classes, in_channels, image_size).network()
        sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
        path = folder / "teacher.safetensors"
        save_file(network.state_dict(), path, {"backbone": backbone, **{key: str(n) for key, n in sizes.items()}})
        return {"teacher": str(path)}

    def train(self, mode: bool = True) -> Self:
        """Set the student's mode; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, views: Tensor) -> Outputs:
        """Return the logits of the student and the teacher for the one view ``[1, B, C, H, W]``."""
        outputs = super().forward(views)
        with torch.no_grad():
            outputs.teachers = self.teacher(views[0]).unsqueeze(0)
        return outputs

    def losses(self, outputs: Outputs, labels: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Return the cross-entropy and the distillation from the teacher."""
        if outputs.teachers is None:
            raise ValueError("KD needs the teacher's logits")
        chosen = self.hyperparameters
        loss = distillation_loss(outputs.peers, outputs.teachers.detach(), chosen.temperature)
        return {"cross_entropy": cross_entropy(outputs.peers, labels), "distillation": chosen.weight * loss}

    def roles(self) -> Mapping[str, Role]:
        """Return that the student is a peer beside its teacher."""
        return {**super().roles(), "teacher": "teacher"}

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits of the student and of the teacher."""
        return {**super().predict(images), "teacher": self.teacher(images)}


def load_network(path: Path, run: Backbone) -> nn.Module:
    """Return the network of a weight file, for the same images and classes as a run's.

    The file's metadata say what it is: ``backbone``, ``num_classes``, ``in_channels``, ``image_size`` and, unless it
    is the published one, ``shared_stages``.

    Raises:
        InputError: If there is no such file, or it is none of a network for these images and classes.
    """
    metadata, weights, _ = _read(path)
    return _network(path, run, metadata, weights)


def _network(path: Path, run: Backbone, metadata: Mapping[str, str], weights: dict[str, Tensor]) -> nn.Module:
    for key in ("num_classes", "in_channels", "image_size"):
        if _number(path, metadata, key) != getattr(run, key):
            raise InputError(f"teacher {path}: its {key} is {metadata[key]}, the run's {getattr(run, key)}")
    name = _word(path, metadata, "backbone")
    shared = _number(path, metadata, "shared_stages") if "shared_stages" in metadata else None
    try:
        # the run's own may be a plug-in's, whose file is not known here
        same = name == run.name
        network = (run if same else make(name, run.num_classes, run.in_channels, run.image_size)).network(shared)
        network.load_state_dict(weights)
    except InputError as error:
        raise InputError(f"teacher {path}: {error}") from None
    except RuntimeError:
        raise InputError(f"teacher {path}: its weights are not those of a {name}") from None
    return network


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor], str]:
    """Return a weight file's metadata, its weights and its hash, all of the same bytes."""
    if not path.is_file():
        raise InputError(f"teacher {path}: no such file")
    try:
        content = path.read_bytes()
        weights = load(content)
        # the format: the length of the header in eight bytes, then the header
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return header.get("__metadata__", {}), weights, sha256(content).hexdigest()
    except (SafetensorError, OSError) as error:
        raise InputError(f"teacher {path}: not a readable safetensors file ({error})") from None


def _word(path: Path, metadata: Mapping[str, str], key: str) -> str:
    if key not in metadata:
        raise InputError(f"teacher {path}: its metadata have no {key!r}")
    return metadata[key]


def _number(path: Path, metadata: Mapping[str, str], key: str) -> int:
    word = _word(path, metadata, key)
    try:
        return int(word)
    except ValueError:
        raise InputError(f"teacher {path}: its {key} is no whole number ({word!r})") from None
