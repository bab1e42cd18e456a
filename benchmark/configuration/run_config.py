"""The configuration of one run, and its identity."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainConfig(_Section):
    """How a run is trained: the optimiser is SGD, the learning rate drops at the milestones."""

    epochs: int = Field(300, ge=1, le=100_000, description="passes over the training set")
    batch_size: int = Field(128, ge=2, le=65_536, description="images a step; the last, smaller batch is kept")
    lr: float = Field(0.1, gt=0, le=100, description="learning rate at the start")
    lr_factor: float = Field(0.1, gt=0, le=1, description="what a milestone multiplies the learning rate by")
    milestones: list[Fraction] = Field([0.5, 0.75], description="where it drops, as shares of the epochs")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    nesterov: bool = Field(True, description="Nesterov's form of the momentum; it needs momentum above 0")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on every parameter")
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of the run; part of its numbers")
    precision: Literal["fp32", "tf32", "bf16"] | None = Field(
        None, description="arithmetic of the networks; null: fp32 on the CPU, tf32 on CUDA"
    )
    deterministic: bool | None = Field(
        None, description="the same bits every time; null: on the CPU yes, on CUDA no, where it costs speed"
    )
    channels_last: bool = Field(True, description="memory layout of images and weights; faster, other rounding")
    compile: bool = Field(False, description="torch.compile the training step; pays in runs of hours")
    collapse_epochs: int = Field(10, ge=1, description="evaluations in a row at chance after which a run has collapsed")
    eval_every: int = Field(1, ge=1, description="epochs between evaluations; the last epoch is always evaluated")

    diagnostics_every: int = Field(
        0,
        ge=0,
        description="epochs between diagnostics (diversity, calibration, gradients) among those that are evaluated; 0: "
        "after the last one only. They change no other number and are no part of the run's identity",
    )

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of a 0-based epoch: dropped once for every milestone that it has reached.

        No milestone lies before the first epoch, however short the run.
        """
        reached = sum(epoch >= max(1, round(milestone * self.epochs)) for milestone in self.milestones)
        return self.lr * self.lr_factor**reached


class DataConfig(_Section):
    """What a run is trained and scored on."""

    train_per_class: int | None = Field(None, ge=1, description="a fixed subset of the training images; null: all")
    test_per_class: int | None = Field(None, ge=1, description="a fixed subset of the test images; null: all")
    holdout: float = Field(
        0.0, ge=0, lt=1, description="share of the training images that is kept out and scored instead of the test set"
    )
    image_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="side to resize (shorter side) and centre-crop image files to; null: as they are",
    )
    pad: int = Field(4, ge=0, le=64, description="pixels of black border before the random crop")
    flip: bool = Field(True, description="whether images are mirrored at random")


class Use(_Section):
    """What a run was asked for as: a table shows it once for each use. It changes no number.

    Attributes:
        name: What it is called; empty for the method's own name.
        train: The training settings that the other methods of its command had instead of this run's.
        chosen: The hyperparameters that were asked for.
    """

    name: str = ""
    train: dict[str, Any] = {}
    chosen: dict[str, Any] = {}


class RunConfig(_Section):
    """Everything that decides a run's numbers, with all defaults filled in, and what it was asked for as."""

    method: str
    dataset: str
    backbone: str
    seed: Seed
    train: TrainConfig
    data: DataConfig
    hyperparameters: dict[str, Any]
    method_version: int
    dataset_checksum: str
    files: dict[str, str] = Field({}, description="hyperparameters that name a file, and the hash of its content")
    uses: list[Use] = Field([], description="what it was asked for as; none: as the method itself. No part of identity")

    @property
    def identity(self) -> str:
        """The hash of the canonical form: equal exactly for runs that must give the same numbers."""
        resolved = self.model_dump(mode="json")
        # what is looked at beside the numbers changes none of them, nor does what the run is called
        del resolved["train"]["diagnostics_every"], resolved["uses"]
        for name in self.files:
            del resolved["hyperparameters"][name]
        # what lies where is not what is trained on: the content's hashes say that
        resolved["dataset"] = self.dataset.partition(":")[0]
        canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What a person calls the run."""
        called = next((use.name for use in self.uses if use.name), self.method)
        return f"{called} {self.dataset} {self.backbone} seed {self.seed}"

    def also(self, uses: Sequence[Use]) -> "RunConfig":
        """Return the same run with the uses that were made of it elsewhere; none are that of the method itself."""
        every = list(self.uses) or [Use()]
        every += [use for use in (uses or [Use()]) if use not in every]
        return self.model_copy(update={"uses": [] if every == [Use()] else every})

    @property
    def split(self) -> str:
        """What the run is scored on: ``test``, or ``validation`` if a part of the training set is held out."""
        return "validation" if self.data.holdout else "test"


SECTIONS: Mapping[str, type[_Section]] = {"train": TrainConfig, "data": DataConfig}
