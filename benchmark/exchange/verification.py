"""Runs repeated here, by their recorded configuration, and compared with what is stored."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark import datasets, paths
from benchmark.errors import MachineError
from benchmark.exchange import reading
from benchmark.exchange.comparison import POINTS, Outcome, Verdict, compared
from benchmark.exchange.compression import is_bundle
from benchmark.store import Contents, DamagedError, Result, Row, Status, Store, find, folders, read_files, scan
from methods.errors import InputError


@dataclass(frozen=True)
class Case:
    """A run that is to be repeated.

    Attributes:
        name: Of its folder.
        contents: What is stored of it.
    """

    name: str
    contents: Contents


def cases(target: str | None, results: Path, sample: int | None = None, seed: int = 0) -> list[Case]:
    """Return the runs that a person means, those alone that have ended for good.

    Args:
        target: A bundle, a results folder, or a run's name as ``bench show`` takes it; all runs of ``results`` if None.
        results: Where runs are looked for.
        sample: How many of them, drawn at random; None for all.
        seed: Of the draw.

    Raises:
        InputError: If nothing is meant, or it is damaged.
    """
    place = results if target is None else paths.written(target, "target")
    if target is not None and is_bundle(target):
        bundled = (item for item in reading.contents(place) if isinstance(item, reading.BundledRun))
        found = [Case(run.name, run.checked()) for run in bundled]
    elif target is None or (place / "runs").is_dir():
        found = list(_stored(place))
    else:
        run = find(results, target)
        found = [Case(run.name, run.contents(run.folder))]
    ended = sorted((case for case in found if case.contents.status.final), key=lambda case: case.name)
    if not ended:
        raise InputError(f"no run of {target or results} has ended for good: there is nothing to repeat")
    if sample is not None and sample < len(ended):
        drawn = random.Random(seed).sample(ended, sample)  # noqa: S311 - nothing secret
        ended = sorted(drawn, key=lambda case: case.name)
    return ended


def _stored(results: Path) -> Iterator[Case]:
    for root in folders(results):
        for name in scan(root):
            try:
                yield Case(name, read_files(root / "runs" / name).contents)
            except DamagedError as error:
                raise InputError(f"{root / 'runs' / name} is damaged: {error}") from None


def verify(
    case: Case,
    data_root: Path,
    device: str | None = None,
    plugins: Sequence[str] = (),
    points: float = POINTS,
) -> Verdict:
    """Repeat a run here and compare.

    Args:
        case: The run.
        data_root: Where data sets lie.
        device: As ``bench run`` takes it; None for the kind that the run was made on, where there is one here.
        plugins: Python files that define further methods, networks and data sets.
        points: See :func:`benchmark.exchange.comparison.compared`.
    """
    stored = case.contents.result
    made = (stored.environment or {}) if stored else {}
    try:
        result, rows = _repeated(case, data_root, device or _like(made.get("device")), plugins)
    except (InputError, MachineError) as error:
        return Verdict(Outcome.NOT_REPEATED, " ".join(str(error).split()))
    here = result.environment or {}
    if result.status is not case.contents.status:
        if not result.status.final:
            return Verdict(Outcome.NOT_REPEATED, f"{result.status}: {result.reason}")
        return Verdict(Outcome.DIFFERENT, f"{case.contents.status} stored, {result.status} here: {result.reason}")
    return compared(case.contents.rows, rows, made, here, points)


def _like(device: str | None) -> str:
    """Return the kind of device that a run was made on, if there is one here."""
    import torch

    if device == "cpu" or (device == "cuda" and torch.cuda.is_available()):
        return device
    return "auto"


def _repeated(case: Case, data_root: Path, device: str, plugins: Sequence[str]) -> tuple[Result, list[Row]]:
    from benchmark.scheduling import Execution, Job

    config = case.contents.config
    dataset = datasets.load(config.dataset, config.data, data_root, plugins)
    if datasets.checksum(config.dataset, config.data, data_root, plugins) != config.dataset_checksum:
        raise MachineError(f"the images of {config.dataset} are not here those that the run was made with")
    with tempfile.TemporaryDirectory(prefix="okdbench-verify-") as folder:
        job = Job(config, Path(folder), device, plugins=tuple(str(paths.plugin_file(plugin)) for plugin in plugins))
        execution = Execution(job, dataset)
        while execution.result is None:
            execution.advance()
        result = execution.result
        return result, Store(Path(folder)).metrics(config) if result.status is not Status.FAILED else []
