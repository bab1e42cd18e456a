"""One rolling checkpoint a run: everything that the rest of the run depends on."""

import io
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from benchmark import store
from benchmark.store import atomic

NAME = store.CHECKPOINT
DAMAGED = "checkpoint.damaged.pt"

_MAGIC = b"okdbench checkpoint 1\n"


class DamagedError(Exception):
    """The checkpoint's bytes are not those of a state that was written."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain data, with its checksum, in the place of the last one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    atomic.write_bytes(folder / NAME, _MAGIC, sha256(content).digest(), content)


def load(folder: Path) -> dict[str, Any] | None:
    """Return the state that was written last, None without one, or raise a DamagedError for a file that was altered."""
    try:
        content = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    start = len(_MAGIC) + sha256().digest_size
    payload = content[start:]
    if content[:start] != _MAGIC + sha256(payload).digest():
        raise DamagedError(f"{folder / NAME} was cut short or altered")
    try:
        # weights_only: a checkpoint holds plain data, and nothing in it is ever run
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedError(f"{folder / NAME} is no checkpoint ({type(error).__name__})") from None
    return state


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint, so that the run can begin anew, and return its new path."""
    target = folder / DAMAGED
    (folder / NAME).replace(target)
    return target


def remove(folder: Path) -> None:
    """Remove the checkpoint, if there is one."""
    (folder / NAME).unlink(missing_ok=True)


def remove_temporary(folder: Path) -> None:
    """Remove what a killed process had not finished writing; the caller holds the run's lock."""
    for path in folder.glob(f".*{atomic.SUFFIX}"):
        if os.access(path, os.W_OK):
            path.unlink(missing_ok=True)
