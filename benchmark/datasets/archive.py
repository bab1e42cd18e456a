"""Archives from elsewhere: downloaded whole, verified before anything reads them, unpacked within their folder.

Whoever calls these functions holds a lock on the archive's folder.
"""

import hashlib
import shutil
import stat
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError

from benchmark.datasets.progress import bar
from methods.errors import InputError

TIMEOUT_S = 30
CHUNK = 1 << 20


def download(address: str, target: Path, md5: str) -> None:
    """Fetch a file; it stands under its name only when it is whole and verified.

    Raises:
        OSError: If there is no network, or it breaks.
        InputError: If something else came.
    """
    with _scratch(target) as folder:
        temporary = folder / target.name
        # the scheme is the caller's constant
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_S) as response, temporary.open("wb") as stream:  # noqa: S310
                total = int(response.headers.get("Content-Length") or 0)
                with bar(f"downloading {target.name}", total) as advance:
                    while chunk := response.read(CHUNK):
                        stream.write(chunk)
                        advance(len(chunk))
        except (HTTPError, HTTPException) as error:
            raise OSError(f"the server answers: {error}") from None
        verify(temporary, md5, f"what {address} sent")
        temporary.replace(target)


def verify(path: Path, md5: str, what: str = "") -> None:
    """Raise an InputError unless a file has this MD5.

    Args:
        path: The file.
        md5: In hexadecimal digits.
        what: How the message names the file; its path if not given.
    """
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise InputError(f"{what or path} has the MD5 {found}, not {md5}: it is damaged or another file")


@contextmanager
def unpacked(archive: Path, folder: str) -> Iterator[Path]:
    """Give a folder of a zip archive, unpacked whole on the archive's file system, to be renamed to where it belongs.

    Args:
        archive: Verified by :func:`verify`.
        folder: The folder's name at the top of the archive; everything else in there is dropped.

    Raises:
        InputError: If it is no sound zip archive, or a member is a link, is encrypted or would lie elsewhere.
        OSError: If it cannot be written.
    """
    try:
        with _scratch(archive) as temporary, zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            for member in members:
                _check(archive, member)
            with bar(f"unpacking {archive.name}", len(members)) as advance:
                for member in members:
                    opened.extract(member, temporary)
                    advance(1)
            if not (temporary / folder).is_dir():
                raise InputError(f"{archive} holds no folder {folder}")
            yield temporary / folder
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive} is no sound zip archive: {error}") from None


def _check(archive: Path, member: zipfile.ZipInfo) -> None:
    # the name as it stands in the archive: ZipInfo.filename is already cut at a zero byte
    name = member.orig_filename
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or bool(set(name) & set("\\:\0"))
    mode = member.external_attr >> 16
    # zero: the archive says nothing of a kind, as those made on Windows do
    strange = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
    if outside or strange or member.flag_bits & 1:
        raise InputError(
            f"{archive}: refused to unpack {name!r}: it is no plain file or folder within the archive's own"
        )


@contextmanager
def _scratch(archive: Path) -> Iterator[Path]:
    """Give an empty folder on the same file system, removed at the end with what is left in it."""
    # always the same name: what a killed process has left is removed by the next one
    folder = archive.with_name(f".{archive.name}.unfinished")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
