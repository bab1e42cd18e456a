"""A results folder as one file that can be attached to a paper."""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmark.exchange.compression import compressed, ending_of
from benchmark.store import CONFIG, PREDICTIONS, DamagedError, Store, atomic, read_files, scan, students_files, writing
from methods.errors import InputError

FORMAT = 1
LAST = "okdbench.json"
"""The last file of a bundle: where it stands, nothing was cut off."""

RUNS, SOURCES = "runs", "sources"


@dataclass(frozen=True)
class Packed:
    """What went into a bundle.

    Attributes:
        runs: How many.
        size: Of the bundle in bytes.
        left_out: A line for each run that is damaged.
    """

    runs: int
    size: int
    left_out: list[str]


def pack(results: Path, out: Path, weights: bool = False, predictions: bool = False) -> Packed:
    """Write all runs of a results folder into one file: the same runs give the same bytes.

    In it are every run's configuration, metrics and result (with the environment), and the source of plug-ins where the
    results folder keeps it; not checkpoints, tracebacks and, unless asked, weights and predictions. Where this machine
    keeps plug-ins and data sets is left out too.

    Args:
        results: The results folder.
        out: The bundle; its ending says how it is compressed.
        weights: Whether the students' weights go along.
        predictions: Whether the predictors' logits on the scored images do.

    Raises:
        InputError: If there are no runs, or the file cannot be written.
    """
    packed = pack_runs([results / RUNS / name for name in scan(results)], out, weights, predictions)
    if not packed.runs:
        raise InputError(f"no runs in {results} that could be packed")
    return packed


def pack_runs(folders: Sequence[Path], out: Path, weights: bool = False, predictions: bool = False) -> Packed:
    """Write some runs into one file; nothing is written if none of them can be packed.

    Args:
        folders: Of the runs, each below ``runs/`` of a results folder; no two have one name.
        out: The bundle; its ending says how it is compressed.
        weights: Whether the students' weights go along.
        predictions: Whether the predictors' logits on the scored images do.

    Raises:
        InputError: If the file cannot be written.
    """
    ending = ending_of(out)
    left_out: list[str] = []
    packed = 0
    temporary = out.with_name(f".{out.name}.{os.getpid()}{atomic.SUFFIX}")
    with writing(out), ExitStack() as cleaning:
        cleaning.callback(temporary.unlink, missing_ok=True)
        with temporary.open("wb") as stream:
            with (
                compressed(stream, ending) as inner,
                tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                needed: dict[str, Path] = {}
                for folder in sorted(folders, key=lambda folder: folder.name):
                    try:
                        files = _files_of(folder, weights, predictions, needed)
                    except DamagedError as error:
                        left_out.append(f"{folder} is damaged and left out: {error}")
                        continue
                    packed += 1
                    for path, content in files.items():
                        _add(archive, f"{RUNS}/{folder.name}/{path}", content)
                for path, content in _sources(needed):
                    _add(archive, path, content)
                _add(archive, LAST, json.dumps({"format": FORMAT, "runs": packed}).encode())
            stream.flush()
            os.fsync(stream.fileno())
        if packed:
            temporary.replace(out)
    return Packed(packed, out.stat().st_size if packed else 0, left_out)


def _files_of(folder: Path, weights: bool, predictions: bool, needed: dict[str, Path]) -> Mapping[str, bytes]:
    results = folder.parents[1]
    files = read_files(folder)
    config = files.contents.config
    if (own := Store(results).folder(config).name) != folder.name:
        raise DamagedError(f"its configuration is that of {own}")
    needed.update(dict.fromkeys(config.sources.values(), results))
    found = dict(files.raw)
    if config.origin != (anywhere := config.origin.portable()):
        settings = yaml.safe_load(found[CONFIG]) | {"origin": anywhere.model_dump(mode="json")}
        found[CONFIG] = yaml.safe_dump(settings, sort_keys=False).encode()
    if weights:
        found |= {path.name: path.read_bytes() for path in students_files(folder)}
    if predictions and (kept := folder / PREDICTIONS).is_file():
        found[kept.name] = kept.read_bytes()
    return found


def _sources(needed: Mapping[str, Path]) -> Iterator[tuple[str, bytes]]:
    for source, results in sorted(needed.items()):
        path = results / SOURCES / f"{source}.py"
        if path.is_file():
            yield f"{SOURCES}/{source}.py", path.read_bytes()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # of what a header can say nothing but the name and the size: neither time nor owner
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
