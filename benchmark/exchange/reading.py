"""The runs in a bundle: nothing that it holds is believed, and nothing of it is written here."""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

from safetensors import SafetensorError, deserialize

from benchmark.configuration import hash_of
from benchmark.exchange.compression import decompressed, ending_of, faults
from benchmark.exchange.packing import FORMAT, LAST, SOURCES
from benchmark.store import CONFIG, LIMITS, METRICS, RESULT, Contents, DamagedError, Store, parse
from methods.errors import InputError

MAX_WEIGHTS = 2**30
MAX_SOURCE = 1_000_000
MAX_MEMBERS = 1_000_000
_HEADERS = 2**20
"""Bytes that may lie between two files: headers with long names; an archive that asks for more wants memory."""

_RUN = re.compile(r"runs/(?P<run>[^./\0-\x1f\x7f][^/\0-\x1f\x7f]{0,249})/(?P<file>[^/\0-\x1f\x7f]{1,200})")
_WEIGHTS = re.compile(r"\w[\w.-]*\.safetensors")
_SOURCE = re.compile(r"sources/(?P<hash>[0-9a-f]{12,64})\.py")


@dataclass
class BundledRun:
    """A run in a bundle.

    Attributes:
        name: Of its folder.
        files: Their bytes by name.
        contents: What they say; set once they are checked.
    """

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    contents: Contents | None = None

    def checked(self) -> Contents:
        """Return what the files say.

        Raises:
            DamagedError: If they are damaged, or if the run is not the one that its name says.
        """
        if self.contents is None:
            if CONFIG not in self.files:
                raise DamagedError(f"there is no {CONFIG}")
            contents = parse(self.files[CONFIG], self.files.get(RESULT), self.files.get(METRICS))
            own = Store(Path()).folder(contents.config).name
            if own != self.name:
                raise DamagedError(f"its configuration is that of {own}")
            for name in self.files.keys() - {CONFIG, METRICS, RESULT}:
                try:
                    deserialize(self.files[name])  # type: ignore[no-untyped-call]
                except SafetensorError as error:
                    raise DamagedError(f"{name} holds no weights: {str(error).splitlines()[0]}") from None
            self.contents = contents
        return self.contents

    @property
    def hash(self) -> str:
        """Of all its files."""
        found = sha256()
        for name, content in sorted(self.files.items()):
            found.update(f"{name} {len(content)}\n".encode() + content)
        return found.hexdigest()


@dataclass(frozen=True)
class Source:
    """The source of a plug-in in a bundle."""

    name: str
    content: bytes


class _Guarded:
    """A stream that gives no more than what was granted: no header makes this process fill its memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = 0

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


def contents(path: Path) -> Iterator[BundledRun | Source]:
    """Yield everything in a bundle, each run checked.

    Args:
        path: The bundle.

    Raises:
        InputError: If it is no bundle, or anything in it is not what a run writes: a path outside, a link, a device, an
            absurd size, a damaged file, a run that is not what its name says.
    """
    ending = ending_of(path)
    faults_of_files: tuple[type[Exception], ...] = (DamagedError, tarfile.TarError, ValueError, *faults())
    try:
        with path.open("rb") as stream, decompressed(stream, ending) as inner:
            yield from _checked(inner)
    except FileNotFoundError:
        raise InputError(f"no such bundle: {path}") from None
    except InputError:
        raise
    except faults_of_files as error:
        raise InputError(f"{path} is no bundle to merge: {' '.join(str(error).split())}") from None


def _checked(stream: IO[bytes]) -> Iterator[BundledRun | Source]:
    run: BundledRun | None = None
    seen: set[str] = set()
    count = 0
    complete = False
    for name, content in _members(stream):
        if complete or name in seen:
            raise DamagedError(f"{_shown(name)} stands twice or after the end")
        seen.add(name)
        found = _RUN.fullmatch(name)
        if run is not None and (found is None or found["run"] != run.name):
            yield _named(run)
            run = None
        if found:
            if run is None:
                if f"run {found['run']}" in seen:
                    raise DamagedError(f"the files of {_shown(found['run'])} lie apart")
                seen.add(f"run {found['run']}")
                run = BundledRun(found["run"])
                count += 1
            run.files[found["file"]] = content
        elif source := _SOURCE.fullmatch(name):
            _check_program(name, content)
            yield Source(f"{source['hash']}.py", content)
        else:
            _check_last(content, count)
            complete = True
    if not complete:
        raise DamagedError("it is cut short, or nothing that bench pack wrote")


def _named(run: BundledRun) -> BundledRun:
    try:
        run.checked()
    except DamagedError as error:
        raise DamagedError(f"{_shown(run.name)}: {error}") from None
    return run


def _check_program(name: str, content: bytes) -> None:
    try:
        found = hash_of(content.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DamagedError(f"{name} is no plug-in's code") from None
    if name != f"{SOURCES}/{found}.py":
        raise DamagedError(f"{name} is other code than its name says")


def _check_last(content: bytes, runs: int) -> None:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if said != {"format": FORMAT, "runs": runs}:
        raise DamagedError(f"{LAST} does not say format {FORMAT} and {runs} runs")


def _members(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive, each checked for its name, kind and size before it is read."""
    guarded = _Guarded(stream)
    guarded.grant(0)
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
    if found := _RUN.fullmatch(name):
        limits: Mapping[str, int] = LIMITS
        if found["file"] in limits:
            return limits[found["file"]]
        if _WEIGHTS.fullmatch(found["file"]):
            return MAX_WEIGHTS
    raise DamagedError(f"{_shown(name)} has no place in a bundle")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:117]}...")
