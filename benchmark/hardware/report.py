"""What ``bench doctor --deep`` finds: one checked document, and its page in Markdown."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from tabulate import tabulate

from benchmark.training.devices import Precision
from benchmark.words import duration

Mode = Literal["eager", "graph", "compiled"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Range(_Model):
    """Measurements of one quantity: the median, the lowest and the highest."""

    median: Positive
    low: Positive
    high: Positive

    def __str__(self) -> str:
        """The median with its range."""
        return f"{self.median:,.0f} ({self.low:,.0f} to {self.high:,.0f})"


class Part(_Model):
    """One part of the measurements.

    Attributes:
        title: What is measured.
        status: Whether all of it was; ``cut`` for want of time.
        seconds: That it took.
        notes: What was cut and what went wrong, one line each.
    """

    title: str
    status: Literal["complete", "cut", "failed", "not reached"] = "not reached"
    seconds: float = Field(0.0, ge=0)
    notes: list[str] = []


class Agreement(_Model):
    """How near the device comes to stored numbers.

    Attributes:
        what: ``loss`` (of given logits) or ``trajectory`` (training steps from stored weights).
        case: Which.
        arithmetic: ``float64``, or a precision in which runs are trained.
        difference: The largest one, relative to the number's size where that is not small; None if it is not finite.
        tolerance: What it may be.
    """

    what: Literal["loss", "trajectory"]
    case: str
    arithmetic: Literal["float64", "fp32", "tf32", "bf16"]
    difference: float | None = Field(ge=0)
    tolerance: Positive

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference is not None and self.difference <= self.tolerance


class Repeat(_Model):
    """Whether a run gives the same bits in another way.

    Attributes:
        what: ``again`` (a second identical run), ``resumed`` (from a checkpoint) or ``recorded`` (steps replayed from
            a recording), against an uninterrupted run of plain steps in this mode.
        differs: The first thing that differs; None if nothing does.
        refusal: Why it was not carried out.
    """

    what: Literal["again", "resumed", "recorded"]
    method: str
    precision: Precision
    optimizer: str = "sgd"
    differs: str | None = None
    refusal: str | None = None


class StepSpeed(_Model):
    """A training step of one method on one network.

    Attributes:
        images_per_s: Of training on ready views; None where the step could not be taken.
        matrix_share: Its operations per second beside those of matrix products in that precision.
        launches: Kernels per step on CUDA, operators per step on the CPU.
        waits: Whether the host waits for the device in the step.
        peak_mib: Of the device; of the process on the CPU.
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


class ParallelSpeed(_Model):
    """Runs at the same time on the device.

    Attributes:
        images_per_s: Of each of the runs.
        gain: All of them together beside one alone.
    """

    runs: int = Field(ge=1)
    images_per_s: list[Positive]
    gain: Positive


class EpochOverheads(_Model):
    """What an epoch takes beside its training steps; shares are of an epoch of as many images as CIFAR has."""

    method: str
    backbone: str
    augmentation_images_per_s: Positive
    evaluation_images_per_s: Positive
    augmentation_share: Share
    evaluation_share: Share


class SettingTime(_Model):
    """How long the published runs take in one setting.

    Attributes:
        parallel: Runs at the same time.
        seconds: For all seeds.
        scaled: Whether another network was measured and its time scaled by MACs.
    """

    precision: Precision
    mode: Mode
    parallel: int = Field(ge=1)
    seconds: Positive
    scaled: bool


class PublishedTime(_Model):
    """What the published table's runs of one method on one network take in each setting, the shortest time first."""

    method: str
    backbone: str
    epochs: int = Field(ge=1)
    seeds: int = Field(ge=1)
    times: list[SettingTime] = []


class DeviceReport(_Model):
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
    parallel: list[ParallelSpeed] = []
    overheads: list[EpochOverheads] = []
    published: PublishedTime | None = None

    @property
    def sound(self) -> bool:
        """Whether no number differs and no part failed."""
        differs = any(not own.agrees for own in self.agreements) or any(own.differs for own in self.repeats)
        return not differs and all(part.status != "failed" for part in self.parts)


def page(found: DeviceReport) -> str:
    """Return everything that was found as Markdown."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: DeviceReport) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items() if number)
    yield from (f"# {found.device}", "")
    yield f"`bench doctor --deep --minutes {found.minutes:g}` on {found.kind}; {versions}."
    if found.small:
        yield from (
            "",
            "There is no accelerator: networks and batches are small, and no time is one of a published run.",
        )
    parts = [(part.title, part.status, f"{part.seconds:.1f}", "; ".join(part.notes)) for part in found.parts]
    yield from ("", *_table(("part", "status", "s", "notes"), parts))
    yield from _section(
        "Stored numbers",
        "The largest difference, relative to a number's size where that is not small. In float64 of three training "
        "steps, in fp32 of the first; in tf32 and bf16 of its cross-entropy.",
        ("", "arithmetic", "difference", "tolerance", ""),
        [
            (
                f"{own.what} {own.case}",
                own.arithmetic,
                "not finite" if own.difference is None else f"{own.difference:.1e}",
                f"{own.tolerance:g}",
                "agrees" if own.agrees else "DIFFERS",
            )
            for own in found.agreements
        ],
    )
    yield from _section(
        "The same bits",
        "Runs again, resumed from a checkpoint, and with recorded steps.",
        ("", "method", "precision", "optimizer", ""),
        [
            (
                *(own.what, own.method, own.precision, own.optimizer),
                own.refusal or (f"DIFFERS: {own.differs}" if own.differs else "equal"),
            )
            for own in found.repeats
        ],
    )
    rates = ", ".join(f"{key} {rate:,.0f} GFLOP/s" for key, rate in found.matrix_gflop_per_s.items())
    yield from _section(
        "Training steps",
        f"Matrix products: {rates}. Launches are {'kernels' if found.kind == 'cuda' else 'operators'} per step.",
        ("method", "network", "batch", "precision", "step", "images/s", "matrix share", "launches", "waits", "MiB"),
        [
            (
                *(own.method, own.backbone, own.batch_size, own.precision, own.mode),
                own.refusal or _or_empty("{}", own.images_per_s),
                _or_empty("{:.2f}", own.matrix_share),
                _or_empty("{}", own.launches),
                {None: "", True: "yes", False: "no"}[own.waits],
                _or_empty("{:,.0f}", own.peak_mib),
            )
            for own in found.steps
        ],
    )
    yield from _section(
        "Runs at the same time",
        "The gain is of all of them together beside one alone.",
        ("runs", "images/s of each", "gain"),
        [
            (own.runs, ", ".join(f"{rate:,.0f}" for rate in own.images_per_s), f"{own.gain:.2f}")
            for own in found.parallel
        ],
    )
    yield from _section(
        "Augmentation and evaluation",
        "With their shares of an epoch.",
        ("method", "network", "augmentation, images/s", "share", "evaluation, images/s", "share "),
        [
            (
                *(own.method, own.backbone, f"{own.augmentation_images_per_s:,.0f}", f"{own.augmentation_share:.1%}"),
                *(f"{own.evaluation_images_per_s:,.0f}", f"{own.evaluation_share:.1%}"),
            )
            for own in found.overheads
        ],
    )
    if (published := found.published) is not None:
        scaled = any(own.scaled for own in published.times)
        yield from _section(
            f"{published.method} on {published.backbone}: {published.epochs} epochs, {published.seeds} seeds",
            "Scaled by MACs from a smaller network: a rough number." if scaled else "From the rates above.",
            ("precision", "step", "runs at the same time", "time"),
            [(own.precision, own.mode, own.parallel, duration(own.seconds)) for own in published.times],
        )


def _section(title: str, about: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    if rows:
        yield from (f"## {title}", "", about, "")
        yield from _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield from (tabulate(rows, heads, tablefmt="github", disable_numparse=True), "")


def _or_empty(form: str, value: object) -> str:
    return "" if value is None else form.format(value)
