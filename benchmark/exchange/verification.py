"""Runs repeated here, by their recorded configuration, and the records of what that came to."""

import math
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from benchmark import datasets, paths, store
from benchmark.configuration import PLACE, RunConfig
from benchmark.errors import MachineError
from benchmark.exchange import bundles
from benchmark.exchange.comparison import BOUND, Comparison, Outcome, Statement, compare, state
from benchmark.store import Contents, DamagedError, Result, Row, Status
from methods.errors import InputError

RECORD = "verification.json"  # of the checker, beside what the site is made of: never in a submission or a bundle
_MAX_RECORD = 50_000_000
_MAX_FILE = 2**34


@dataclass(frozen=True)
class Access:
    """What of this machine a repetition may use."""

    data_root: Path  # where datasets are
    device: str | None = None  # as `bench run` takes it; None for the kind that a run was made on, if there is one
    plugins: Sequence[str] = ()  # Python files that define further methods, networks and datasets
    datasets: Sequence[str] = ()  # datasets with a path, such as `folder:photos`, that the person has named
    files: Sequence[Path] = ()  # files for hyperparameters that the person has named, such as the weights of a teacher


def cases(target: str | Path | None, results: Path) -> list[Contents]:
    """Return the runs that a person names, those alone that have ended for good, read from their files.

    The target is a bundle, a results folder, or a run in ``results`` by its name as ``bench show`` takes it; all runs
    of ``results`` if it is None. It is an InputError if there is none, or one is damaged.
    """
    place = results if target is None else paths.written(target, "target")
    if target is not None and bundles.is_bundle(str(target)):
        found = [run for run in bundles.contents(place) if isinstance(run, Contents)]
    else:
        if target is None or (place / "runs").is_dir():
            folders = [root / "runs" / name for root in store.folders(place) for name in store.scan(root)]
        else:
            folders = [store.find(results, str(target)).folder]
        found = [store.whole_files(path) for path in folders if path.name.isprintable()]
    ended = sorted((case for case in found if case.status.final), key=lambda case: case.name)
    if not ended:
        raise InputError(f"no run of {target or results} has ended for good: there is nothing to repeat")
    return ended


def drawn(every: Sequence[Contents], seed: int) -> list[Contents]:
    """Return the runs in the order in which they are repeated: at random, and of every claim one in turn.

    The seed is the checker's: whoever made the runs cannot have known it.
    """
    order = sorted(every, key=lambda case: case.name)
    random.Random(seed).shuffle(order)  # noqa: S311 - what counts is that it was not known before
    claims = [case.claim for case in order]
    turn = {case.name: claims[:place].count(claims[place]) for place, case in enumerate(order)}
    return sorted(order, key=lambda case: turn[case.name])


def repeat(
    every: Sequence[Contents],
    access: Access,
    seed: int,
    sample: int | None = None,
    minutes: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Comparison]:
    """Repeat runs in the order of :func:`drawn` and return what each came to, by its name.

    At most ``sample`` runs are repeated, and when the minutes are over, the run that is under way ends in its middle;
    None is no limit. ``tell`` is given a line for each run.
    """
    end = time.monotonic() + 60 * (math.inf if minutes is None else minutes)
    found: dict[str, Comparison] = {}
    for case in drawn(every, seed)[:sample]:
        if (left := end - time.monotonic()) <= 0:
            break
        one = found[case.name] = replace(verify(case, access, left), content=case.hash)
        tell(f"{one.outcome:<13} {case.name}{f'  {one.text}' if one.text else ''}")
    return found


def verify(case: Contents, access: Access, seconds: float = math.inf) -> Comparison:
    """Repeat a run here and compare; after so many seconds it is given up."""
    try:
        with _time_limit(seconds):
            result, rows = _repeated(case, access)
    except _TimeIsUpError:
        return Comparison(Outcome.NOT_REPEATED, "the time was up")
    except (InputError, MachineError, DamagedError) as error:
        return Comparison(Outcome.NOT_REPEATED, " ".join(str(error).split()))
    if not result.status.final:
        return Comparison(Outcome.NOT_REPEATED, f"{result.status}: {result.reason}")
    if result.status is not case.status:
        return Comparison(Outcome.DIFFERENT, f"{case.status} stored, {result.status} here: {result.reason}")
    said = case.result or Result(case.status)
    agrees = {
        "students": said.students == result.students,
        "predictors": said.roles.items() <= result.roles.items(),
        "metrics": set(said.metrics) <= set(result.metrics),
    }
    if wrong := [what for what, same in agrees.items() if not same]:
        return Comparison(Outcome.INCONSISTENT, f"it declares other {' and '.join(wrong)} than its configuration has")
    return compare(case.rows, rows, case.made_with, result.environment or {})


def _repeated(contents: Contents, access: Access) -> tuple[Result, list[Row]]:
    import torch

    from benchmark.scheduling import Execution, Job

    config = allowed(contents.config, access)
    where = access.data_root, access.plugins
    if not datasets.present(config.dataset, *where):
        raise MachineError(f"the images of {config.dataset} are not here, and nothing is downloaded for a repetition")
    if datasets.checksum(config.dataset, config.data, *where) != config.dataset_checksum:
        raise MachineError(f"the images of {config.dataset} are not here those that the run was made with")
    dataset = datasets.load(config.dataset, config.data, *where)
    made_on = contents.made_with.get("device", "")
    like = made_on if made_on == "cpu" or (made_on == "cuda" and torch.cuda.is_available()) else "auto"
    plugins = tuple(str(paths.plugin_file(plugin)) for plugin in access.plugins)
    with tempfile.TemporaryDirectory(prefix="okdbench-verify-") as folder:
        execution = Execution(config, Job(Path(folder), access.device or like, plugins=plugins), dataset)
        *_, (_, result) = execution.train()
        return result, store.Store(Path(folder)).metrics(config) if result.status is not Status.FAILED else []


def allowed(config: RunConfig, access: Access) -> RunConfig:
    """Return a configuration in which paths are those alone that the person has named, with the same content.

    A dataset or a file of a path that was not named is an InputError: none is opened then.
    """
    update: dict[str, Any] = {}
    form, colon, _ = config.dataset.partition(PLACE)
    if colon and config.dataset not in access.datasets:
        named = [name for name in access.datasets if name.partition(PLACE)[0] == form]
        if not named:
            raise InputError(f"its images are read only where you say they are: --dataset {form}{PLACE}...")
        checksums = {name: datasets.checksum(name, config.data, access.data_root, access.plugins) for name in named}
        update["dataset"] = next((name for name in named if checksums[name] == config.dataset_checksum), named[0])
    if config.files:
        hashes = {sha256(store.read_regular(path, _MAX_FILE)).hexdigest(): path for path in access.files}
        values = dict(config.hyperparameters)
        for name, content in config.files.items():
            here = next((path for known, path in hashes.items() if known.startswith(content)), None)
            if here is None:
                raise InputError(f"the file of {name} is read only where you say it is: --file ...")
            values[name] = str(here)
        update["hyperparameters"] = values
    return config.model_copy(update=update)


class _TimeIsUpError(BaseException):
    """No error of the run's: nothing that carries a run out catches it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """End what is within after so long, in the main thread of a system that has alarms."""
    if seconds == math.inf or not hasattr(signal, "setitimer"):
        yield
        return

    def end(*_: object) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Record(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """What was checked of a bundle or of a folder of runs."""

    digest: str = ""  # of the bundle's bytes; empty for a folder of runs
    seed: int = 0  # of the draw
    environment: dict[str, str] = {}  # what the repetition was made with
    problems: list[str] = []  # what is not as it must be, a line each
    runs: dict[str, Comparison] = {}  # what repeating a run came to, by its name

    def comparison(self, name: str, content: str) -> Comparison | None:
        """Return what repeating a run came to; None if it was not repeated, or has other files now."""
        found = self.runs.get(name)
        return found if found is not None and found.content == content else None


class _Records(BaseModel, extra="forbid"):
    format: Literal[2]
    records: dict[str, Record]


def statements(every: Sequence[Contents], record: Record, bound: float = BOUND) -> dict[str, Statement]:
    """Return what repetitions say, by :func:`state`, of each claim: the runs that differ in their seeds alone."""
    claims: dict[str, list[Contents]] = {}
    for case in every:
        claims.setdefault(case.claim, []).append(case)
    found: dict[str, Statement] = {}
    for claim, own in claims.items():
        config = own[0].config
        name = f"{config.method} on {config.dataset}/{config.backbone}"
        repeated = [one for case in own if (one := record.comparison(case.name, case.hash))]
        found[name if name not in found else f"{name} ({claim})"] = state(repeated, len(own), bound)
    return found


def record_of(root: Path, source: Path) -> Record:
    """Return the record of a bundle or a folder of runs; an empty one if there is none for just these bytes.

    The checker's file of records is in ``root``, beside or above the source; if it is damaged, that is an InputError.
    """
    found = _read(root / RECORD).get(_key(root, source), Record())
    return found if found.digest == _digest_of(source) else Record()


def write_record(root: Path, source: Path, record: Record) -> Path:
    """Add a record to the checker's file, beside what is known of the same bytes; return it, or raise an InputError."""
    known = _read(root / RECORD)
    runs = {**record_of(root, source).runs, **record.runs}
    known[_key(root, source)] = record.model_copy(update={"digest": _digest_of(source), "runs": runs})
    content = _Records(format=2, records=dict(sorted(known.items())))
    return store.put(root / RECORD, content.model_dump_json(indent=2) + "\n")


def _digest_of(source: Path) -> str:
    """Return the hash of a bundle's bytes; nothing for a folder."""
    return sha256(source.read_bytes()).hexdigest() if source.is_file() else ""


def _key(root: Path, source: Path) -> str:
    root, source = root.resolve(), source.resolve()
    return source.relative_to(root).as_posix() if source.is_relative_to(root) else source.name


def _read(path: Path) -> dict[str, Record]:
    try:
        return _Records.model_validate_json(store.read_regular(path, _MAX_RECORD)).records
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {store.first_fault(error)}") from None
    except (DamagedError, OSError) as error:
        raise InputError(f"{path} is damaged or cannot be read: {error}") from None
