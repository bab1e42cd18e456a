"""The ``bench`` command, given as at a terminal."""

import sys
from collections.abc import Sequence

import pytest

from benchmark import cli


def bench(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Give a command, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    try:
        cli.main()
    except SystemExit as end:
        return int(str(end.code or 0))
    return 0
