"""One run as text."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmark.reports import repeat
from benchmark.store import PREDICTIONS, Record, StoredRun, students_files
from benchmark.words import duration


def lines(run: StoredRun) -> Iterator[str]:
    """Yield what there is to know of a run."""
    yield run.name
    yield from _block("", {"folder": run.folder, "identity": run.identity, "status": run.status} | _ending(run))
    config = run.config
    chosen = {key: getattr(config, key) for key in ("method", "dataset", "backbone", "seed")}
    code = {f"{role} source": source for role, source in config.sources.items()}
    yield from _block("run", chosen | {"scored on": config.split, "method version": config.method_version} | code)
    yield from _block("train", config.train.model_dump())
    yield from _block("data", config.data.model_dump() | {"checksum": config.dataset_checksum})
    yield from _block(config.method, config.hyperparameters)
    if run.result:
        yield from _block("cost", run.result.cost or {})
        yield from _block("made with", run.result.environment or {})
    yield from _block("last metrics", run.last_metrics())
    kept = repeat.Kept(bool(students_files(run.folder)), (run.folder / PREDICTIONS).is_file())
    line = repeat.command(config, run.result, run.folder.parents[1], kept)
    yield from ("", "repeat it (with --force, where it has ended):", f"  {line}")


def listing(runs: Iterable[Record]) -> Iterator[str]:
    """Yield a line a run."""
    for run in runs:
        accuracy = run.last_metrics().get("student")
        score = "" if accuracy is None else f"{accuracy:6.2f} %"
        reason = f"  {' '.join(run.reason.split())}" if run.reason else ""
        yield f"  {run.status:<13}  {score:>8}  {run.name}{reason}"


def _ending(run: StoredRun) -> dict[str, Any]:
    if not run.result:
        return {}
    reason = {"reason": run.result.reason} if run.result.reason else {}
    saved = ", ".join(path.stem for path in students_files(run.folder)) or "none (--save-students)"
    predictions = "kept" if (run.folder / PREDICTIONS).is_file() else "none (--save-predictions)"
    took = duration(run.result.seconds)
    return {**reason, "took": took, "saved students": saved, "predictions": predictions}


def _block(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if title and values:
        yield ""
        yield f"{title}:"
    width = max(map(len, values), default=0)
    for key, value in values.items():
        yield f"  {key:<{width}}  {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    return "" if value is None else str(value)
