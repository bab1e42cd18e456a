"""The configuration of one run, and its identity."""

import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from hashlib import sha256
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

PLACE = ":"
"""Between a form of dataset and what a person names in it, as in ``folder:PATH``."""

EQUAL_EPOCHS = "equal epochs"
"""The budget of a run whose length is the recipe's."""


class FieldRole(Enum):
    """What a field is to a run; one without a role of identity is always part of the identity."""

    ADDED = "added after runs had been stored: part of the identity unless it has its default"
    EXECUTION = "how steps are carried out, with the same numbers: part of the identity only where it is true"
    MEASURES = "adds metrics and changes no other number: not part of the identity"
    REQUEST = "describes the request that asked for the run: not part of the identity"
    AUGMENTATION = "what is done to training images at random: no role of identity"


ADDED, EXECUTION, MEASURES, REQUEST, AUGMENTATION = FieldRole


class Strict(BaseModel):
    """Unknown keys are errors, values are of their own types and finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Section(Strict):
    @classmethod
    def of_role(cls, *roles: FieldRole) -> set[str]:
        """Return the names of the fields that have one of these roles."""
        return {name for name, field in cls.model_fields.items() if any(role in field.metadata for role in roles)}

    def canonical(self) -> dict[str, Any]:
        """Return the values that count for the identity."""
        defaults = {name: field.get_default() for name, field in type(self).model_fields.items()}
        left_out = self.unused() | self.of_role(FieldRole.MEASURES, FieldRole.REQUEST)
        left_out |= {name for name in self.of_role(FieldRole.ADDED) if getattr(self, name) == defaults[name]}
        left_out |= {name for name in self.of_role(FieldRole.EXECUTION) if getattr(self, name) is not True}
        return self.model_dump(mode="json", exclude=left_out)

    def unused(self) -> set[str]:
        """Return the settings that nothing reads given the others' values."""
        return set()


class TrainConfig(_Section):
    """How a run is trained: the optimiser, and a learning rate that follows a schedule after a warm-up."""

    epochs: int = Field(300, ge=1, le=100_000, description="passes over the training set")
    batch_size: int = Field(128, ge=2, le=65_536, description="images per step; the last, smaller batch is kept")
    lr: float = Field(0.1, gt=0, le=100, description="learning rate at the start")
    lr_factor: float = Field(0.1, gt=0, le=1, description="what a milestone multiplies the learning rate by")
    milestones: list[Fraction] = Field([0.5, 0.75], description="where it drops: shares of the run, or whole epochs")
    schedule: Annotated[Literal["step", "cosine", "constant"], ADDED] = Field(
        "step", description="of the learning rate: dropped at the milestones, half a cosine from lr towards 0, or lr"
    )
    warmup_epochs: Annotated[float, ADDED] = Field(
        0.0, ge=0, le=100_000, description="linear warm-up, step by step: a share of the run below 1, from 1 on epochs"
    )
    warmup_from: Annotated[float, ADDED] = Field(
        0.1, ge=0, le=1, description="share of the rate that a warm-up begins with"
    )
    optimizer: Annotated[Literal["sgd", "adamw"], ADDED] = Field(
        "sgd", description="sgd with momentum, or adamw: betas 0.9 and 0.999, decoupled weight decay, no momentum"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; adamw does not read it")
    nesterov: bool = Field(True, description="Nesterov's form of sgd's momentum; adamw does not read it")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="on every parameter, but those of no_decay")
    no_decay: Annotated[Literal["none", "norm_and_bias"], ADDED] = Field(
        "none", description="what is spared weight decay: nothing, or the scales and shifts of norms and all biases"
    )
    label_smoothing: Annotated[float, ADDED] = Field(
        0.0, ge=0, lt=1, description="share of every label that is spread evenly over all classes"
    )
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of the run; part of its numbers")
    precision: Literal["fp32", "tf32", "bf16"] | None = Field(None, description="null: fp32 on the CPU, tf32 on CUDA")
    deterministic: bool | None = Field(None, description="the same bits every time; null: on the CPU, not on CUDA")
    channels_last: bool = Field(True, description="memory layout of images and weights; faster, other rounding")
    compile: bool = Field(False, description="torch.compile the training step; pays in runs of hours")
    graph: Annotated[Literal["auto", True, False], EXECUTION] = Field(
        "auto", description="replay the step as a CUDA graph; auto: where bench doctor --deep has shown no difference"
    )
    collapse_epochs: int = Field(10, ge=1, description="evaluations in a row at chance after which a run has collapsed")
    eval_every: int = Field(1, ge=1, description="epochs between evaluations; the last epoch is always evaluated")

    diagnostics_every: Annotated[int, MEASURES] = Field(
        0,
        ge=0,
        description="evaluated epochs between diagnostics (diversity, calibration, gradients); 0: the last only",
    )
    class_accuracy: Annotated[bool, MEASURES] = Field(
        False, description="whether diagnostics include the students' accuracy on each class"
    )

    def unused(self) -> set[str]:
        """Return the settings that nothing reads beside the others' values."""
        return {"momentum", "nesterov"} if self.optimizer == "adamw" else set()

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of a 0-based epoch e of E by the schedule, without the warm-up.

        ``step``: ``lr f^m`` where m counts the milestones that the epoch has reached; none is before the first
        epoch, however short the run. ``cosine``: ``lr (1 + cos(pi e / E)) / 2``. ``constant``: ``lr``.
        """
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        reached = sum(epoch >= max(1, round(milestone * self.epochs)) for milestone in self.milestones)
        return self.lr * self.lr_factor**reached

    def warmup_at(self, step: int, steps_per_epoch: int) -> float:
        """Return what the warm-up multiplies the learning rate by at a 0-based optimiser step s of W in the warm-up.

        ``a + (1 - a) s / W`` with a = ``warmup_from``, and 1 from step W on; as ``torch.optim.lr_scheduler.LinearLR``.
        """
        epochs = self.warmup_epochs if self.warmup_epochs >= 1 else self.warmup_epochs * self.epochs
        steps = round(epochs * steps_per_epoch)
        return 1.0 if step >= steps else self.warmup_from + (1 - self.warmup_from) * step / steps


class DataConfig(_Section):
    """What a run is trained and scored on."""

    train_per_class: int | None = Field(None, ge=1, description="a fixed subset of the training images; null: all")
    subset_seed: Annotated[int, ADDED] = Field(
        0, ge=0, le=99_999, description="which random subset of the training images train_per_class takes"
    )
    test_per_class: int | None = Field(None, ge=1, description="a fixed subset of the test images; null: all")
    holdout: float = Field(
        0.0, ge=0, lt=1, description="share of the training images that is kept out and scored instead of the test set"
    )
    train_split: Annotated[str | None, ADDED] = Field(
        None, min_length=1, description="the split of folder:, hf: or torchvision: to train on; null: the usual one"
    )
    test_split: Annotated[str | None, ADDED] = Field(
        None, min_length=1, description="likewise the split to score on; with holdout nothing reads it"
    )
    image_size: int | None = Field(
        None, ge=8, le=1024, description="side to resize (shorter side) and centre-crop images to; null: as they are"
    )
    crop: Annotated[Literal["padded", "resized"], ADDED, AUGMENTATION] = Field(
        "padded", description="a random window of the padded image, or torchvision's RandomResizedCrop"
    )
    crop_scale: Annotated[float, ADDED, AUGMENTATION] = Field(
        0.08, gt=0, le=1, description="smallest share of an image's area that a resized crop has; the largest is 1"
    )
    pad: Annotated[int, AUGMENTATION] = Field(4, ge=0, le=64, description="pixels of border before the random crop")
    padding: Annotated[Literal["black", "mean", "reflect"], ADDED, AUGMENTATION] = Field(
        "black", description="what the border is: black, the training images' mean colour, or their mirrored rim"
    )
    flip: Annotated[bool, AUGMENTATION] = Field(True, description="whether images are mirrored at random")
    augment: Annotated[Literal["none", "standard", "randaugment", "trivialaugment"], ADDED, AUGMENTATION] = Field(
        "standard", description="none; standard: crop and flip; or that and torchvision's policy of this name"
    )
    erase: Annotated[float, ADDED, AUGMENTATION] = Field(
        0.0, ge=0, le=1, description="probability with which a random rectangle of an image gets the mean colour"
    )
    mix: Annotated[Literal["none", "mixup", "cutmix"], ADDED, AUGMENTATION] = Field(
        "none", description="how images and labels of a batch are mixed; not with methods that need unmixed labels"
    )
    mix_alpha: Annotated[float, ADDED, AUGMENTATION] = Field(
        1.0, gt=0, le=1000, description="both parameters of the Beta distribution of which mix draws its share"
    )

    def unused(self) -> set[str]:
        """Return the settings that nothing reads beside the others' values."""
        cropping = {"pad", "padding"} if self.crop == "resized" else {"crop_scale"}
        if self.augment == "none":
            cropping = {"crop", "crop_scale", "pad", "padding", "flip"}
        unmixed = {"mix_alpha"} if self.mix == "none" else set()
        whole = {"subset_seed"} if self.train_per_class is None else set()
        return cropping | unmixed | whole | ({"test_split"} if self.holdout else set())


class RunAlias(Strict):
    """What a run was asked for as: a table shows it once for each use. It changes no number."""

    name: str = ""  # what it is called; empty for the method's own name
    train: dict[str, Any] = {}  # the training settings that the other methods of its command had instead of this run's
    chosen: dict[str, Any] = {}  # the hyperparameters that were asked for


class Origin(Strict):
    """Where the command lay that asked for a run: what has to be said to give it again. It changes no number."""

    plugins: list[str] = []  # Python files that defined further methods
    data_root: str | None = None  # where the datasets lay; None for the usual place

    def portable(self) -> "Origin":
        """Return what of it means something on another machine: the files' names, not the folders they lay in."""
        return Origin(plugins=[PurePath(plugin).name for plugin in self.plugins])


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
    sources: dict[str, str] = Field(
        {}, description="what comes from a plug-in (method, dataset, backbone), and the hash of its code"
    )
    uses: Annotated[list[RunAlias], REQUEST] = Field(
        [], description="the names and settings it was requested under; none: as the method itself"
    )
    origin: Annotated[Origin, REQUEST] = Field(Origin(), description="the paths of the command that requested it")
    budgets: Annotated[list[str], REQUEST] = Field(
        [EQUAL_EPOCHS], min_length=1, description="the comparisons that requested the run"
    )

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # without a plug-in there is no such key: runs that were stored before there was one keep their identity
        content: dict[str, Any] = handler(self)
        if not self.sources:
            content.pop("sources", None)
        return content

    @property
    def identity(self) -> str:
        """The hash of the canonical form: equal exactly for runs that must give the same numbers."""
        resolved = self.canonical() | {"train": self.train.canonical(), "data": self.data.canonical()}
        # paths are not part of it: the contents' hashes are
        for name in self.files:
            del resolved["hyperparameters"][name]
        resolved["dataset"] = self.dataset.partition(PLACE)[0]
        canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """What a person calls the run."""
        called = next((use.name for use in self.uses if use.name), self.method)
        return f"{called} {self.dataset} {self.backbone} seed {self.seed}"

    def also(self, uses: Sequence[RunAlias], budgets: Sequence[str] = ()) -> "RunConfig":
        """Return the same run as it was asked for elsewhere too, by that name and for those comparisons."""
        every = list(self.uses) or [RunAlias()]
        every += [use for use in (uses or [RunAlias()]) if use not in every]
        joined = list(dict.fromkeys([*budgets, *self.budgets]))
        return self.model_copy(update={"uses": [] if every == [RunAlias()] else every, "budgets": joined})

    @property
    def soft_labels(self) -> bool:
        """Whether losses are given probabilities instead of class indices."""
        return self.train.label_smoothing > 0 or self.data.mix != "none"

    @property
    def split(self) -> str:
        """What the run is scored on: ``test``, or ``validation`` if a part of the training set is held out."""
        return "validation" if self.data.holdout else "test"


SECTIONS: Mapping[str, type[_Section]] = {"train": TrainConfig, "data": DataConfig}


def settings_of_role(role: FieldRole) -> set[str]:
    """Return the settings of a role, such as ``train.class_accuracy``."""
    return {f"{section}.{name}" for section, model in SECTIONS.items() for name in model.of_role(role)}
