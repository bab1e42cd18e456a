"""What is measured: the published table's methods and networks, smaller where there is no accelerator."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmark.configuration import Request, RunConfig, complete_methods, recipes
from benchmark.datasets import Shape
from benchmark.probing.records import Mode, Precision
from benchmark.speed.report import TEST_IMAGES, TRAIN_IMAGES, runs

TABLE = "pcl_table"
"""The recipe whose cell is asked about: its last method on its first network."""

SMALL_BACKBONES = ("resnet8", "resnet20")
SMALL_BATCH = 16


@dataclass(frozen=True)
class Subject:
    """What is measured on a device.

    Attributes:
        methods: All that need nothing else, the table's own method first.
        backbones: The table's, or smaller ones.
        cell_backbone: The one of the table's cell.
        batch_size: Images a step.
        precisions: In which runs are trained on the device.
        sections: Hyperparameters by method.
        seeds: Of a cell.
        small: Whether networks and batches are smaller than the table's.
    """

    device: torch.device
    methods: tuple[str, ...]
    backbones: tuple[str, ...]
    cell_backbone: str
    batch_size: int
    precisions: tuple[Precision, ...]
    sections: dict[str, dict[str, Any]]
    seeds: int
    small: bool

    @classmethod
    def of(cls, device: torch.device) -> "Subject":
        """Return what is measured on that device."""
        table = recipes.read(recipes.find(TABLE))
        own = table["methods"][-1]
        others = [name for name in complete_methods(Request([{}])) if name != own]
        cuda = device.type == "cuda"
        return cls(
            device=device,
            methods=(own, *others),
            backbones=tuple(table["backbone"]) if cuda else SMALL_BACKBONES,
            cell_backbone=table["backbone"][0],
            batch_size=128 if cuda else SMALL_BATCH,
            precisions=("tf32", "bf16") if cuda else ("fp32", "bf16"),
            sections={name: dict(table[name]) for name in table["methods"] if name in table},
            seeds=table["seeds"],
            small=not cuda,
        )

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How a step may be taken, the quickest to prepare first."""
        return ("eager", "graph", "compiled")

    @property
    def shape(self) -> Shape:
        """Of CIFAR-100."""
        return Shape(TRAIN_IMAGES, TEST_IMAGES, 100, 3, 32)

    def run(self, method: str, backbone: str, precision: Precision, mode: Mode, **train: Any) -> RunConfig:
        """Return one run."""
        settings = {
            "batch_size": self.batch_size,
            "threads": 1,
            "precision": precision,
            "graph": mode == "graph",
            "compile": mode == "compiled",
            **train,
        }
        own = {method: self.sections[method]} if method in self.sections else {}
        (run,) = runs(method, backbone, settings, own)
        return run

    def at(self, image_size: int, classes: int) -> Shape:
        """Return the shape of other images."""
        return replace(self.shape, image_size=image_size, num_classes=classes)
