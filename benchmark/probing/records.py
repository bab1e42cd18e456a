"""What a deep look at a machine finds, as one checked document."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Ending = Literal["complete", "cut", "failed", "not reached"]
Precision = Literal["fp32", "tf32", "bf16"]
Mode = Literal["eager", "graph", "compiled"]
Positive = Annotated[float, Field(gt=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Range(_Record):
    """Measurements of one quantity: the median, the lowest and the highest."""

    median: Positive
    low: Positive
    high: Positive


class Part(_Record):
    """One of the six parts.

    Attributes:
        title: What it looks at.
        ending: Whether all of it was measured; ``cut`` for want of time.
        seconds: That it took.
        notes: What was cut and what went wrong, a line each.
    """

    title: str
    ending: Ending = "not reached"
    seconds: float = Field(0.0, ge=0)
    notes: list[str] = []


class Agreement(_Record):
    """How near the device comes to stored numbers.

    Attributes:
        what: ``loss`` (of given logits) or ``trajectory`` (three training steps from stored weights).
        case: Which.
        arithmetic: ``float64``, or a precision in which runs are trained.
        difference: The largest one (in tf32 and bf16: of the first step's cross-entropy), relative to the number's
            size or to 1, whichever is more; None if it is not finite.
        tolerance: What it may be.
    """

    what: Literal["loss", "trajectory"]
    case: str
    arithmetic: Literal["float64", "fp32", "tf32", "bf16"]
    difference: float | None = Field(ge=0)
    tolerance: Positive

    @property
    def agrees(self) -> bool:
        """Whether it lies within the tolerance."""
        return self.difference is not None and self.difference <= self.tolerance


class Repeat(_Record):
    """Whether a run gives the same bits again.

    Attributes:
        what: ``again`` (a second identical run) or ``resumed`` (from a checkpoint, against uninterrupted).
        differs: The first thing that differs; None if nothing does.
    """

    what: Literal["again", "resumed"]
    method: str
    precision: Precision
    mode: Mode
    differs: str | None


class StepSpeed(_Record):
    """A training step of one method on one network.

    Attributes:
        images_per_s: Of training on ready views; None where the step could not be taken.
        matrix_share: Its operations a second beside those of matrix products in that precision.
        launches: Kernels a step on CUDA, operators a step on the CPU.
        waits: Whether the step waits for the host.
        peak_mib: Of the device; of this process on the CPU.
        refusal: Why it could not be taken in this mode.
    """

    method: str
    backbone: str
    batch_size: int = Field(ge=1)
    precision: Precision
    mode: Mode
    images_per_s: Range | None = None
    matrix_share: Positive | None = None
    launches: int | None = Field(None, ge=0)
    waits: bool | None = None
    peak_mib: Positive | None = None
    refusal: str | None = None


class Together(_Record):
    """Runs side by side on the device.

    Attributes:
        runs: How many.
        images_per_s: Of each.
        gain: All of them together beside one alone.
    """

    runs: int = Field(ge=1)
    images_per_s: list[Positive]
    gain: Positive


class Feeding(_Record):
    """What an epoch takes beside its training steps.

    Attributes:
        augmentation_share: Of an epoch of as many images as CIFAR has, in 0..1; likewise ``evaluation_share``.
    """

    method: str
    backbone: str
    augmentation_images_per_s: Positive
    evaluation_images_per_s: Positive
    augmentation_share: float = Field(ge=0, le=1)
    evaluation_share: float = Field(ge=0, le=1)


class CellTime(_Record):
    """How long a cell of the published table takes: so many seeds of so many epochs.

    Attributes:
        together: Runs side by side.
        seconds: For all seeds.
        scaled: Whether another network was measured and its time scaled by the operations.
    """

    precision: Precision
    mode: Mode
    together: int = Field(ge=1)
    seconds: Positive
    scaled: bool


class Cell(_Record):
    """A cell of the published table, and what it takes in each setting that was measured, the cheapest first."""

    method: str
    backbone: str
    epochs: int = Field(ge=1)
    seeds: int = Field(ge=1)
    times: list[CellTime] = []


class Probe(_Record):
    """Everything that was found.

    Attributes:
        device: The hardware, as its maker names it.
        kind: ``cpu`` or ``cuda``.
        versions: Of Python and the packages that decide numbers.
        minutes: That it might take.
        seconds: That it took so far.
        small: Whether networks and batches are smaller than the published ones.
    """

    device: str
    kind: str
    versions: dict[str, str]
    minutes: Positive
    seconds: float = Field(0.0, ge=0)
    small: bool
    matrix_gflop_per_s: dict[Precision, Positive] = {}
    parts: list[Part]
    agreements: list[Agreement] = []
    repeats: list[Repeat] = []
    steps: list[StepSpeed] = []
    together: list[Together] = []
    feeding: list[Feeding] = []
    cell: Cell | None = None
