"""Bundles: the runs of a results folder as one file; nothing that one holds is believed before it is checked."""

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import yaml
from safetensors import SafetensorError, deserialize

from benchmark import store, tables
from benchmark.configuration import PLACE, hash_of
from benchmark.escaping import file_name
from benchmark.store import CONFIG, LIMITS, Contents, DamagedError
from benchmark.tables import PLANS
from methods.errors import InputError, message_of, unknown

ENDINGS = (".tar.zst", ".tar.gz")
FORMAT = 1
LAST = "okdbench.json"  # the last file of a bundle: where it is there, nothing was cut off
RUNS, SOURCES = "runs", "sources"
MAX_WEIGHTS = 2**30
MAX_SOURCE = 1_000_000
MAX_MEMBERS = 1_000_000
MAX_PLANS = 100
_WINDOW = 2**27  # bytes that a stream may ask to be held in memory
_HEADERS = 2**20  # bytes between two files: headers with long names; an archive that asks for more wants memory

_RUN = re.compile(r"runs/(?P<run>[^./\0-\x1f\x7f][^/\0-\x1f\x7f]{0,249})/(?P<file>[^/\0-\x1f\x7f]{1,200})")
_WEIGHTS = re.compile(r"\w[\w.-]*\.safetensors")
_SOURCE = re.compile(rf"{SOURCES}/[0-9a-f]{{12,64}}\.py")
_PLAN = re.compile(rf"{PLANS}/[0-9a-f]{{12}}\.json")


def ending_of(path: Path) -> str:
    """Return which of :data:`ENDINGS` a bundle has, or raise an InputError that lists them."""
    for ending in ENDINGS:
        if path.name.endswith(ending):
            return ending
    raise unknown("kind of bundle", path.name, ENDINGS)


def is_bundle(word: str) -> bool:
    """Return whether a word ends as a bundle's name does."""
    return word.endswith(ENDINGS)


class Packed(NamedTuple):
    """What went into a bundle."""

    runs: int  # how many
    size: int  # of the bundle in bytes
    left_out: list[str]  # a line for each run that is damaged


def pack(runs: Path | Sequence[Path], out: Path, weights: bool = False, predictions: bool = False) -> Packed:
    """Write runs into one file, or raise an InputError if there are none: the same runs give the same bytes.

    In it are every run's configuration, metrics and result (with the environment), the source of plug-ins where the
    results folder keeps it, its sequential plans of these runs and, where asked, the students' weights and the
    predictors' logits; not checkpoints, tracebacks, and where this machine keeps plug-ins and datasets.

    Args:
        runs: A results folder, or the folders of runs in several; of two with one name the second is a replicate.
        out: Its ending says how it is compressed.
    """
    ending = ending_of(out)
    folders = (
        [runs / RUNS / name for name in store.scan(runs) if name.isprintable()] if isinstance(runs, Path) else runs
    )
    left_out: list[str] = []
    names: set[str] = set()
    sources: dict[str, Path] = {}
    with (
        store.writing(out),
        store.atomic.replacing(out) as stream,
        _compressed(stream, ending) as inner,
        tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):

        def add(path: str, content: bytes) -> None:
            # of what a header can say nothing but the name and the size: neither time nor owner
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for folder in sorted(folders, key=lambda folder: folder.name):
            try:
                run = _packed_run(folder, weights, predictions)
            except DamagedError as error:
                left_out.append(f"{folder} is left out: it is damaged: {error}")
                continue
            sources.update(dict.fromkeys(run.config.sources.values(), folder.parents[1] / SOURCES))
            name = store.replicate_name(folder.name, run.made_with) if folder.name in names else folder.name
            names.add(name)
            for file, content in run.raw.items():
                add(f"{RUNS}/{name}/{file}", content)
        if not names:
            raise InputError(f"no runs{f' in {runs}' if isinstance(runs, Path) else ''} that could be packed")
        for source, kept in sorted(sources.items()):
            with suppress(FileNotFoundError, DamagedError):
                add(f"{SOURCES}/{source}.py", store.read_regular(kept / f"{source}.py", MAX_SOURCE))
        plans = {plan.file: plan for plan in tables.stored_plans({folder.parents[1] for folder in folders})}
        for file, plan in sorted(plans.items()):
            if plan.runs & names:
                add(f"{PLANS}/{file}", plan.content)
        add(LAST, json.dumps({"format": FORMAT, "runs": len(names)}).encode())
    return Packed(len(names), out.stat().st_size, left_out)


def _packed_run(folder: Path, weights: bool, predictions: bool) -> Contents:
    """Return a run with what goes along of its files."""
    if folder.is_symlink():
        raise DamagedError("it is a link")
    run = store.read_files(folder)
    _check_name(run)
    files = dict(run.raw)
    origin = run.config.origin
    if origin != (portable := origin.portable()):
        settings = store.parse_stored_yaml(files[CONFIG].decode()) | {"origin": portable.model_dump(mode="json")}
        files[CONFIG] = yaml.dump(settings, Dumper=store.Dumper, sort_keys=False).encode()
    more = store.students_files(folder) if weights else []
    if predictions and (folder / store.PREDICTIONS).is_file():
        more = [*more, folder / store.PREDICTIONS]
    return replace(run, raw=files | {path.name: store.read_regular(path, MAX_WEIGHTS) for path in more})


def _check_name(run: Contents) -> None:
    """Raise a DamagedError if a run is not the one that its folder's name says."""
    own = store.run_name(run.config)
    if PLACE in run.config.dataset and store.identity_in(run.name) == run.config.identity:
        # another path to the same dataset: the run keeps the name that it was first stored by
        own = run.name.partition(store.REPLICATE)[0]
    if run.name not in (own, store.replicate_name(own, run.made_with)):
        raise DamagedError(f"its configuration is that of {own}")


class BundledFile(NamedTuple):
    """The source of a plug-in, or a sequential plan, in a bundle."""

    path: str  # below a results folder; its name is the hash of the content
    content: bytes


def contents(path: Path) -> Iterator[Contents | BundledFile]:
    """Yield everything in a bundle, each run checked.

    It is an InputError if anything in it is not what a run writes, such as a path outside or a link.
    """
    ending = ending_of(path)
    try:
        with path.open("rb") as stream:
            yield from _checked(_members(_Guarded(stream, ending)))
    except FileNotFoundError:
        raise InputError(f"no such bundle: {path}") from None
    except InputError:
        raise
    except (DamagedError, tarfile.TarError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is no bundle to merge: {' '.join(str(error).split())}") from None


def _checked(members: Iterator[tuple[str, bytes]]) -> Iterator[Contents | BundledFile]:
    def place(member: tuple[str, bytes]) -> str:
        return member[0].rpartition("/")[0] if _RUN.fullmatch(member[0]) else member[0]

    seen: set[str] = set()
    runs = plans = 0
    for name, group in groupby(members, place):
        files = list(group)
        if LAST in seen or name in seen or len(dict(files)) < len(files):
            raise DamagedError(f"{_shown(name)} is there twice, not in one place, or after the end")
        seen.add(name)
        if _RUN.fullmatch(files[0][0]):
            runs += 1
            yield _run(name.removeprefix(f"{RUNS}/"), {file.rpartition("/")[2]: content for file, content in files})
        elif name != LAST:
            plans += _PLAN.fullmatch(name) is not None
            if plans > MAX_PLANS:
                raise DamagedError(f"it holds more than {MAX_PLANS:,} sequential plans")
            yield _file(name, files[0][1])
        else:
            with suppress(ValueError, RecursionError):
                if json.loads(files[0][1]) == {"format": FORMAT, "runs": runs}:
                    continue
            raise DamagedError(f"{LAST} does not say format {FORMAT} and {runs} runs")
    if LAST not in seen:
        raise DamagedError("it is cut short, or nothing that bench pack wrote")


def _run(name: str, files: Mapping[str, bytes]) -> Contents:
    try:
        found = store.parse(files, name)
        _check_name(found)
        if file_name(found.config.method) != found.config.method:
            raise DamagedError(f"{found.config.method[:60]!r} is no name of a method")
        for file in files.keys() - LIMITS.keys():
            deserialize(files[file])  # type: ignore[no-untyped-call]
    except (DamagedError, SafetensorError) as error:
        raise DamagedError(f"{_shown(name)}: {message_of(error)}") from None
    return found


def _file(path: str, content: bytes) -> BundledFile:
    source = _SOURCE.fullmatch(path) is not None
    kind = "plug-in's code" if source else "sequential plan"
    try:
        name = f"{hash_of(content.decode())}.py" if source else tables.parsed_plan(content).file
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DamagedError(f"{path} is no {kind}") from None
    if path.rpartition("/")[2] != name:
        raise DamagedError(f"{path} is another {kind} than its name says")
    return BundledFile(path, content)


class _Guarded:
    """A compressed stream that gives no more than what was granted: no header makes this process fill its memory."""

    def __init__(self, stream: IO[bytes], ending: str) -> None:
        self._stream, self._ready = stream, bytearray()
        # the readers of the packages take a stream that was cut for a whole one
        self._frame: Any = zlib.decompressobj(31)
        self._fault: type[Exception] = zlib.error
        if ending == ".tar.zst":
            zstandard = _zstandard()
            self._frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
            self._fault = zstandard.ZstdError
        self.grant(0)

    def grant(self, count: int) -> None:
        """Let so many more bytes be read, beside the headers before the next file."""
        self._left = count + _HEADERS

    def read(self, count: int) -> bytes:
        """Return the next bytes; fewer at the end alone."""
        count = min(count, self._left + 1)
        while len(self._ready) < count and not self._frame.eof:
            # few bytes: they may become 32,000 times as many
            if not (part := self._stream.read(256)):
                raise EOFError("it is cut short")
            try:
                self._ready += self._frame.decompress(part)
            except self._fault as error:
                raise EOFError(str(error)) from None
        content = bytes(self._ready[:count])
        del self._ready[:count]
        self._left -= len(content)
        if self._left < 0:
            raise DamagedError("it holds an absurd number of bytes that belong to no file")
        return content


def _members(guarded: _Guarded) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive, each checked for its name, kind and size before it is read."""
    # it needs no other method of a file
    with tarfile.open(fileobj=guarded, mode="r|") as archive:  # type: ignore[call-overload]
        for number, member in enumerate(archive):
            if number >= MAX_MEMBERS:
                raise DamagedError(f"it holds more than {MAX_MEMBERS:,} files")
            if not member.isreg() or member.issparse():
                raise DamagedError(f"{_shown(member.name)} is no plain file")
            if member.size > (limit := _limit(member.name)):
                raise DamagedError(f"{_shown(member.name)} would have {member.size:,} bytes, more than {limit:,}")
            guarded.grant(member.size)
            yield member.name, cast("IO[bytes]", archive.extractfile(member)).read()
    # a compressed stream is whole only if its end, with a checksum, is there
    guarded.grant(0)
    while guarded.read(_HEADERS):
        pass


def _limit(name: str) -> int:
    """Return how many bytes a file may have, or raise a DamagedError if it has no place in a bundle."""
    if name == LAST:
        return 1000
    if _SOURCE.fullmatch(name):
        return MAX_SOURCE
    if _PLAN.fullmatch(name):
        return tables.MAX_PLAN
    file = found["file"] if (found := _RUN.fullmatch(name)) else ""
    if file in LIMITS or _WEIGHTS.fullmatch(file):
        return LIMITS.get(file, MAX_WEIGHTS)
    raise DamagedError(f"{_shown(name)} has no place in a bundle")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:117]}...")


def _compressed(stream: IO[bytes], ending: str) -> AbstractContextManager[Any]:
    """Return a stream that compresses what is written to it: the same bytes every time."""
    if ending == ".tar.gz":
        # without name and time of making
        return gzip.GzipFile("", "wb", 9, stream, mtime=0)
    writer = _zstandard().ZstdCompressor(level=10, write_checksum=True).stream_writer(stream, closefd=False)
    return cast("AbstractContextManager[Any]", writer)


def _zstandard() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise InputError(
            ".tar.zst needs the package zstandard: pip install 'okdbench[bundles]' (or name the bundle .tar.gz)"
        ) from None
    return zstandard
