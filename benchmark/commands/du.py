"""``bench du``."""

from pathlib import Path

from benchmark.commands.options import Results
from benchmark.words import tell
from methods.errors import InputError


def du(results: Results = Path("results")) -> None:
    """Say what takes the space in a results folder, and what of it may go."""
    from benchmark import store

    if not results.is_dir():
        raise InputError(f"no such results folder: {results}")
    found = store.kinds(results)
    for kind in found:
        files = "file" if kind.files == 1 else "files"
        tell(f"  {kind.bytes / 2**20:10.2f} MiB  {kind.name:<16}  {kind.files} {files}; {kind.remark}".rstrip("; "))
    tell(f"  {sum(kind.bytes for kind in found) / 2**20:10.2f} MiB  in {results}")
