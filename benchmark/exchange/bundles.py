"""Bundles: the runs of a results folder as one file; nothing that one holds is believed before it is checked."""

import gzip
import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

import yaml
from safetensors import SafetensorError, deserialize

from benchmark import store, tables
from benchmark.configuration import PLACE, hash_of
from benchmark.escaping import file_name
from benchmark.store import CONFIG, LIMITS, Contents, DamagedError
from benchmark.tables import PLANS, Plan
from methods.errors import InputError, message_of, unknown

ENDINGS = (".tar.zst", ".tar.gz")
FORMAT = 1
LAST = "okdbench.json"
"""The last file of a bundle: where it is there, nothing was cut off."""

RUNS, SOURCES = "runs", "sources"

MAX_WEIGHTS = 2**30
MAX_SOURCE = 1_000_000
MAX_MEMBERS = 1_000_000
MAX_PLANS = 100

_WINDOW = 2**27
"""Bytes that a stream may ask to be held in memory."""

_HEADERS = 2**20
"""Bytes that may be between two files: headers with long names; an archive that asks for more wants memory."""

_RUN = re.compile(r"runs/(?P<run>[^./\0-\x1f\x7f][^/\0-\x1f\x7f]{0,249})/(?P<file>[^/\0-\x1f\x7f]{1,200})")
_WEIGHTS = re.compile(r"\w[\w.-]*\.safetensors")
_SOURCE = re.compile(rf"{SOURCES}/[0-9a-f]{{12,64}}\.py")
_PLAN = re.compile(rf"{PLANS}/[0-9a-f]{{12}}\.json")


def ending_of(path: Path) -> str:
    """Return which of :data:`ENDINGS` a bundle has, or raise an InputError that lists them."""
    found = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
    if found is None:
        raise unknown("kind of bundle", path.name, ENDINGS)
    return found


def is_bundle(word: str) -> bool:
    """Return whether a word ends as a bundle's name does."""
    return word.endswith(ENDINGS)


@dataclass(frozen=True)
class Packed:
    """What went into a bundle."""

    runs: int  # how many
    size: int  # of the bundle in bytes
    left_out: list[str]  # a line for each run that is damaged


def pack(results: Path, out: Path, weights: bool = False, predictions: bool = False) -> Packed:
    """Write all runs of a results folder into one file: the same runs give the same bytes.

    In it are every run's configuration, metrics and result (with the environment), the source of plug-ins where the
    results folder keeps it, and its sequential plans of these runs; not checkpoints, tracebacks and, unless asked,
    weights and predictions. Where this machine keeps plug-ins and datasets is left out too.

    Args:
        results: The results folder.
        out: The bundle; its ending says how it is compressed.
        weights: Whether the students' weights are packed.
        predictions: Whether the predictors' logits on the scored images are packed.

    Raises:
        InputError: If there are no runs, or the file cannot be written.
    """
    folders = [results / RUNS / name for name in store.scan(results) if name.isprintable()]
    packed = pack_runs(folders, out, weights, predictions)
    if not packed.runs:
        raise InputError(f"no runs in {results} that could be packed")
    return packed


def pack_runs(folders: Sequence[Path], out: Path, weights: bool = False, predictions: bool = False) -> Packed:
    """Write some runs into one file as :func:`pack` does; nothing is written if none of them can be packed.

    Args:
        folders: Of the runs, each below ``runs/`` of a results folder; of two with one name the second is a replicate.

    Raises:
        InputError: If the file cannot be written.
    """
    ending = ending_of(out)
    plans = {plan.file: plan for plan in tables.stored_plans({folder.parents[1] for folder in folders})}
    left_out: list[str] = []
    names: set[str] = set()
    sources: dict[str, Path] = {}
    temporary = out.with_name(f".{out.name}.{os.getpid()}{store.atomic.SUFFIX}")
    with store.writing(out):
        try:
            with temporary.open("wb") as stream:
                with (
                    _compressed(stream, ending) as inner,
                    tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as archive,
                ):
                    for folder in sorted(folders, key=lambda folder: folder.name):
                        try:
                            contents, files = _files_of(folder, weights, predictions)
                        except DamagedError as error:
                            left_out.append(f"{folder} is left out: it is damaged: {error}")
                            continue
                        sources.update(dict.fromkeys(contents.config.sources.values(), folder.parents[1] / SOURCES))
                        name = folder.name
                        if name in names:
                            name = store.replicate_name(name, contents.environment)
                        names.add(name)
                        for path, content in files.items():
                            _add(archive, f"{RUNS}/{name}/{path}", content)
                    for source, kept in sorted(sources.items()):
                        with suppress(OSError, DamagedError):
                            content = store.read_regular(kept / f"{source}.py", MAX_SOURCE)
                            _add(archive, f"{SOURCES}/{source}.py", content)
                    for file, plan in sorted(plans.items()):
                        if plan.runs & names:
                            _add(archive, f"{PLANS}/{file}", plan.content)
                    _add(archive, LAST, json.dumps({"format": FORMAT, "runs": len(names)}).encode())
                stream.flush()
                os.fsync(stream.fileno())
            if names:
                temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
    return Packed(len(names), out.stat().st_size if names else 0, left_out)


def _files_of(folder: Path, weights: bool, predictions: bool) -> tuple[Contents, Mapping[str, bytes]]:
    if folder.is_symlink():
        raise DamagedError("it is a link")
    contents = store.read_files(folder)
    _check_name(folder.name, contents)
    files = dict(contents.raw)
    origin = contents.config.origin
    if origin != (portable := origin.portable()):
        settings = store.parse_stored_yaml(files[CONFIG].decode()) | {"origin": portable.model_dump(mode="json")}
        files[CONFIG] = yaml.dump(settings, Dumper=store.Dumper, sort_keys=False).encode()
    more = store.students_files(folder) if weights else []
    if predictions and (folder / store.PREDICTIONS).is_file():
        more = [*more, folder / store.PREDICTIONS]
    return contents, files | {path.name: store.read_regular(path, MAX_WEIGHTS) for path in more}


def _check_name(name: str, contents: Contents) -> None:
    """Raise a DamagedError if a run is not the one that its folder's name says."""
    own = store.run_name(contents.config)
    if PLACE in contents.config.dataset and store.identity_in(name) == contents.config.identity:
        # another path to the same dataset: the run keeps the name that it was first stored by
        own = name.partition(store.REPLICATE)[0]
    if name not in (own, store.replicate_name(own, contents.environment)):
        raise DamagedError(f"its configuration is that of {own}")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # of what a header can say nothing but the name and the size: neither time nor owner
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


@dataclass(frozen=True)
class BundledRun:
    """A run in a bundle."""

    name: str  # of its folder
    contents: Contents  # what its files say
    files: Mapping[str, bytes]  # the bytes of all of them by name, weights and predictions included

    @property
    def hash(self) -> str:
        """Of all its files."""
        found = sha256()
        for name, content in sorted(self.files.items()):
            found.update(f"{name} {len(content)}\n".encode() + content)
        return found.hexdigest()


@dataclass(frozen=True)
class BundledSource:
    """The source of a plug-in in a bundle."""

    name: str
    content: bytes


def contents(path: Path) -> Iterator[BundledRun | BundledSource | Plan]:
    """Yield everything in a bundle, each run checked.

    Raises:
        InputError: If it is no bundle, or anything in it is not what a run writes: a path outside, a link, a device, an
            absurd size, a damaged file, a run that is not what its name says.
    """
    ending = ending_of(path)
    faults: list[type[Exception]] = [DamagedError, tarfile.TarError, ValueError, OSError, EOFError, zlib.error]
    if ending == ".tar.zst":
        faults.append(_zstandard().ZstdError)
    try:
        with path.open("rb") as stream:
            reader = _ZstandardReader(stream) if ending == ".tar.zst" else gzip.GzipFile("", "rb", fileobj=stream)
            with reader as inner:
                yield from _checked(cast(IO[bytes], inner))
    except FileNotFoundError:
        raise InputError(f"no such bundle: {path}") from None
    except InputError:
        raise
    except tuple(faults) as error:
        raise InputError(f"{path} is no bundle to merge: {' '.join(str(error).split())}") from None


def _checked(stream: IO[bytes]) -> Iterator[BundledRun | BundledSource | Plan]:
    name_of_run, files = "", dict[str, bytes]()
    seen: set[str] = set()
    runs = plans = 0
    complete = False
    for name, content in _members(stream):
        if complete or name in seen:
            raise DamagedError(f"{_shown(name)} is there twice or after the end")
        seen.add(name)
        found = _RUN.fullmatch(name)
        if files and (found is None or found["run"] != name_of_run):
            yield _run(name_of_run, files)
            files = {}
        if found:
            if not files:
                name_of_run = found["run"]
                if f"run {name_of_run}" in seen:
                    raise DamagedError(f"the files of {_shown(name_of_run)} are not together")
                seen.add(f"run {name_of_run}")
                runs += 1
            files[found["file"]] = content
        elif name == LAST:
            complete = True
            with suppress(ValueError, RecursionError):
                if json.loads(content) == {"format": FORMAT, "runs": runs}:
                    continue
            raise DamagedError(f"{LAST} does not say format {FORMAT} and {runs} runs")
        elif _SOURCE.fullmatch(name):
            yield _source(name, content)
        else:
            plans += 1
            if plans > MAX_PLANS:
                raise DamagedError(f"it holds more than {MAX_PLANS:,} sequential plans")
            yield _plan(name, content)
    if not complete:
        raise DamagedError("it is cut short, or nothing that bench pack wrote")


def _run(name: str, files: Mapping[str, bytes]) -> BundledRun:
    try:
        found = store.parse(files)
        _check_name(name, found)
        if file_name(found.config.method) != found.config.method:
            raise DamagedError(f"{found.config.method[:60]!r} is no name of a method")
        for file in files.keys() - LIMITS.keys():
            try:
                deserialize(files[file])  # type: ignore[no-untyped-call]
            except SafetensorError as error:
                raise DamagedError(f"{file} holds no weights: {message_of(error)}") from None
    except DamagedError as error:
        raise DamagedError(f"{_shown(name)}: {error}") from None
    return BundledRun(name, found, files)


def _source(name: str, content: bytes) -> BundledSource:
    try:
        found = f"{hash_of(content.decode())}.py"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DamagedError(f"{name} is no plug-in's code") from None
    if name != f"{SOURCES}/{found}":
        raise DamagedError(f"{name} is other code than its name says")
    return BundledSource(found, content)


def _plan(name: str, content: bytes) -> Plan:
    try:
        plan = tables.parsed_plan(content)
    except (ValueError, RecursionError):
        raise DamagedError(f"{name} is no sequential plan") from None
    if name != f"{PLANS}/{plan.file}":
        raise DamagedError(f"{name} is another plan than its name says")
    return plan


class _Guarded:
    """A stream that gives no more than what was granted: no header makes this process fill its memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.grant(0)

    def grant(self, count: int) -> None:
        """Let so many more bytes be read, beside the headers before the next file."""
        self._left = count + _HEADERS

    def read(self, count: int) -> bytes:
        """Return the next bytes."""
        content = self._stream.read(min(count, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DamagedError("it holds an absurd number of bytes that belong to no file")
        return content


def _members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive, each checked for its name, kind and size before it is read."""
    guarded = _Guarded(stream)
    # without the cast a type of its own would be needed for three methods that are never called
    with tarfile.open(fileobj=guarded, mode="r|") as archive:  # type: ignore[call-overload]
        for number, member in enumerate(archive):
            if number >= MAX_MEMBERS:
                raise DamagedError(f"it holds more than {MAX_MEMBERS:,} files")
            if not member.isreg() or member.issparse():
                raise DamagedError(f"{_shown(member.name)} is no plain file")
            limit = _limit(member.name)
            if member.size > limit:
                raise DamagedError(f"{_shown(member.name)} would have {member.size:,} bytes, more than {limit:,}")
            guarded.grant(member.size)
            reader = archive.extractfile(member)
            content = reader.read() if reader is not None else b""
            if len(content) != member.size:
                raise DamagedError(f"{_shown(member.name)} is cut short")
            yield member.name, content
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
    if found := _RUN.fullmatch(name):
        if found["file"] in LIMITS:
            return LIMITS[found["file"]]
        if _WEIGHTS.fullmatch(found["file"]):
            return MAX_WEIGHTS
    raise DamagedError(f"{_shown(name)} has no place in a bundle")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:117]}...")


@contextmanager
def _compressed(stream: IO[bytes], ending: str) -> Iterator[IO[bytes]]:
    """Yield a stream that compresses what is written to it: the same bytes every time."""
    writer: Any
    if ending == ".tar.zst":
        writer = _zstandard().ZstdCompressor(level=10, write_checksum=True).stream_writer(stream, closefd=False)
    else:
        # without name and time of making
        writer = gzip.GzipFile("", "wb", 9, stream, mtime=0)
    with writer:
        yield cast(IO[bytes], writer)


class _ZstandardReader(io.RawIOBase):
    """A stream of what a zstandard frame holds; the package's own reader takes a frame that was cut for a whole one."""

    _PART = 256
    """Bytes that are taken at once: they may become 32,000 times as many."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._frame = _zstandard().ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        self._ready = bytearray()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer at the end alone.

        Raises:
            EOFError: If the frame was cut.
        """
        while (size < 0 or len(self._ready) < size) and not self._frame.eof:
            part = self._stream.read(self._PART)
            if not part:
                raise EOFError("it is cut short")
            self._ready += self._frame.decompress(part)
        end = len(self._ready) if size < 0 else size
        content = bytes(self._ready[:end])
        del self._ready[:end]
        return content


def _zstandard() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise InputError(
            ".tar.zst needs the package zstandard: pip install 'okdbench[bundles]' (or name the bundle .tar.gz)"
        ) from None
    return zstandard
