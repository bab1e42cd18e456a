"""What ``bench doctor --deep`` finds: one checked document, and its page in Markdown."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from tabulate import tabulate

from benchmark.speed.measure import Rate
from benchmark.training import Precision

Mode = Literal["eager", "graph", "compiled"]
Positive = Annotated[float, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def row(self) -> dict[str, Any]:
        """Return the fields as a row of the page's tables."""
        return {name.replace("_", " "): _text(getattr(self, name)) for name in type(self).model_fields}


class Part(_Model):
    """One part of the measurements."""

    title: str
    # whether all of it was measured; cut if time was too short
    status: Literal["complete", "cut", "failed", "not reached"] = "not reached"
    seconds: float = Field(0.0, ge=0)  # that it took
    notes: list[str] = []  # what was cut and what went wrong, one line each


class Agreement(_Model):
    """How near the device comes to stored numbers."""

    # loss (of given logits) or trajectory (training steps from stored weights)
    what: Literal["loss", "trajectory"]
    case: str
    arithmetic: Literal["float64", "fp32", "tf32", "bf16"]
    # the largest one, relative to the number's size where that is not small; None if it is not finite
    difference: float | None = Field(ge=0)
    tolerance: Positive  # what it may be

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference is not None and self.difference <= self.tolerance

    def row(self) -> dict[str, Any]:
        """Return the fields and the result."""
        return super().row() | {"": "agrees" if self.agrees else "DIFFERS"}


class Repeat(_Model):
    """Whether a run gives the same bits in another way."""

    # again (a second identical run), resumed (from a checkpoint) or recorded (steps replayed), against standard steps
    what: Literal["again", "resumed", "recorded"]
    method: str
    precision: Precision
    optimizer: str = "sgd"
    differs: str | None = None  # the first thing that differs; None if nothing does
    refusal: str | None = None  # why it was not carried out


class StepSpeed(_Model):
    """A training step of one method on one network."""

    method: str
    backbone: str
    batch_size: int = Field(ge=1)
    precision: Precision
    mode: Mode
    images_per_s: Rate | None = None  # of training on ready views; None where the step could not be taken
    # its operations per second relative to those of matrix products in that precision
    matrix_share: Positive | None = None
    peak_mib: Positive | None = None  # of the device; of the process on the CPU
    refusal: str | None = None  # why it could not be taken in this mode


class ParallelSpeed(_Model):
    """Runs at the same time on the device."""

    runs: int = Field(ge=1)
    images_per_s: list[Positive]  # of each of the runs
    gain: Positive  # all of them together relative to one alone


class DeviceReport(_Model):
    """Everything that was found."""

    device: str  # the hardware, as its maker names it
    kind: str  # cpu or cuda
    versions: dict[str, str]  # of Python and the packages that decide numbers
    minutes: Positive  # that it might take
    seconds: float = Field(0.0, ge=0)  # that it took so far
    small: bool  # whether networks and batches are smaller than the published ones
    matrix_gflop_per_s: dict[Precision, Positive] = {}
    parts: list[Part]
    agreements: list[Agreement] = []
    repeats: list[Repeat] = []
    steps: list[StepSpeed] = []
    parallel: list[ParallelSpeed] = []

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
            "There is no accelerator: networks and batches are small, and no rate is one of published runs.",
        )
    rates = ", ".join(f"{key} {rate:,.0f} GFLOP/s" for key, rate in found.matrix_gflop_per_s.items())
    about = {
        "Stored numbers": "The largest difference, relative to a number's size where that is not small: in float64 of "
        "three training steps, in fp32 of the first, in tf32 and bf16 of its cross-entropy.",
        "The same bits": "Against an uninterrupted run of standard steps.",
        "Training steps": f"Matrix products: {rates}.",
        "Runs at the same time": "The gain is of all of them together relative to one alone.",
    }
    tables: tuple[Sequence[_Model], ...] = (found.agreements, found.repeats, found.steps, found.parallel)
    yield from ("", *_table(found.parts))
    for (title, text), rows in zip(about.items(), tables, strict=True):
        if rows:
            yield from (f"## {title}", "", text, "", *_table(rows))


def _table(rows: Sequence[_Model]) -> Iterator[str]:
    yield from (tabulate([row.row() for row in rows], "keys", tablefmt="github", disable_numparse=True), "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)
