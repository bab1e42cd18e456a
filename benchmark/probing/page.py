"""The page of a deep look at a machine."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from benchmark.probing.records import Probe, Range
from benchmark.words import duration


def page(found: Probe) -> str:
    """Return everything that was found as Markdown."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Probe) -> Iterator[str]:
    yield f"# {found.device}"
    yield ""
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items() if number)
    yield f"`bench doctor --deep --minutes {found.minutes:g}` on {found.kind}; {versions}."
    if found.small:
        yield ""
        yield "There is no accelerator: networks and batches are small, and no time here is one of a published setting."
    yield ""
    yield from _table(
        ("part", "", "s", "remarks"),
        [(i, f"{p.title}: {p.ending}", f"{p.seconds:.1f}", "; ".join(p.notes)) for i, p in enumerate(found.parts, 1)],
    )
    if found.agreements:
        yield from _head("1. Stored numbers")
        yield "The largest difference, relative to a number's size or to 1, whichever is more; in tf32 and bf16 that of"
        yield "the first step's cross-entropy."
        yield ""
        yield from _table(
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
    if found.repeats:
        yield from _head("2. The same bits")
        yield from _table(
            ("", "method", "precision", "step", ""),
            [
                (own.what, own.method, own.precision, own.mode, f"DIFFERS: {own.differs}" if own.differs else "equal")
                for own in found.repeats
            ],
        )
    if found.steps:
        yield from _head("3. Training steps")
        rates = ", ".join(f"{key} {rate:,.0f} GFLOP/s" for key, rate in found.matrix_gflop_per_s.items())
        what = "kernels" if found.kind == "cuda" else "operators"
        yield f"Matrix products: {rates}. Launches are {what} a step."
        yield ""
        yield from _table(
            ("method", "network", "batch", "precision", "step", "images/s", "matrix share", "launches", "waits", "MiB"),
            [
                (
                    own.method,
                    own.backbone,
                    own.batch_size,
                    own.precision,
                    own.mode,
                    own.refusal or _range(own.images_per_s),
                    "" if own.matrix_share is None else f"{own.matrix_share:.2f}",
                    "" if own.launches is None else own.launches,
                    "" if own.waits is None else "yes" if own.waits else "no",
                    "" if own.peak_mib is None else f"{own.peak_mib:,.0f}",
                )
                for own in found.steps
            ],
        )
    if found.together:
        yield from _head("4. Side by side")
        yield from _table(
            ("runs", "images/s of each", "gain"),
            [
                (own.runs, ", ".join(f"{rate:,.0f}" for rate in own.images_per_s), f"{own.gain:.2f}")
                for own in found.together
            ],
        )
    if found.feeding:
        yield from _head("5. Augmentation and evaluation")
        yield from _table(
            ("method", "network", "augmentation, images/s", "of an epoch", "evaluation, images/s", "of an epoch "),
            [
                (
                    own.method,
                    own.backbone,
                    f"{own.augmentation_images_per_s:,.0f}",
                    f"{own.augmentation_share:.1%}",
                    f"{own.evaluation_images_per_s:,.0f}",
                    f"{own.evaluation_share:.1%}",
                )
                for own in found.feeding
            ],
        )
    if found.cell is not None:
        cell = found.cell
        yield from _head(
            f"6. A cell of the table: {cell.method}, {cell.backbone}, {cell.epochs} epochs, {cell.seeds} seeds"
        )
        if any(own.scaled for own in cell.times):
            yield "Scaled by operations from a smaller network: a rough number."
            yield ""
        yield from _table(
            ("precision", "step", "runs side by side", "time"),
            [(own.precision, own.mode, own.together, duration(own.seconds)) for own in cell.times],
        )


def _head(text: str) -> Iterator[str]:
    yield f"## {text}"
    yield ""


def _range(found: Range | None) -> str:
    return "" if found is None else f"{found.median:,.0f} ({found.low:,.0f} to {found.high:,.0f})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    yield ""
