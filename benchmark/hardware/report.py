"""What ``bench doctor --deep`` finds: one checked document, and its page in Markdown."""

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
    """How near the losses of training steps come to stored numbers."""

    method: str  # whose training steps from stored weights these are
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
    matrix_gflop_per_s: Positive | None = None  # of matrix products in that precision
    matrix_share: Positive | None = None  # the step's operations per second relative to that rate
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
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items() if number)
    text = [f"# {found.device}", f"`bench doctor --deep --minutes {found.minutes:g}` on {found.kind}; {versions}."]
    if found.kind == "cpu":
        text.append("There is no accelerator: networks and batches are small, and no rate is one of published runs.")
    tables: tuple[tuple[str, list[Any]], ...] = (
        ("", found.parts),
        (
            "## Stored numbers\n\nThe largest difference, relative to a number's size where that is not small: in "
            "float64 of three training steps, in fp32 of the first, in tf32 and bf16 of its cross-entropy.",
            found.agreements,
        ),
        ("## The same bits\n\nAgainst an uninterrupted run of standard steps.", found.repeats),
        ("## Training steps\n\nThe matrix share is of the rate of matrix products in that precision.", found.steps),
        ("## Runs at the same time\n\nThe gain is of all of them together relative to one alone.", found.parallel),
    )
    for heading, rows in tables:
        if rows:
            cells = [row.row() for row in rows]
            text += [heading, tabulate(cells, "keys", tablefmt="github", disable_numparse=True)]
    return "\n\n".join(filter(None, text)) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return "" if value is None else str(value)
