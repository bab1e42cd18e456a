"""The ``bench`` command, given as at a terminal; ``conftest.py`` has the fixtures ``bench`` and ``small``."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark import cli

BENCH = str(Path(sys.executable).with_name("bench"))
SMALL = {"epochs": 1, "engine": "serial", "device": "cpu", "data": {"train_per_class": 2, "test_per_class": 2}}
"""Settings of runs that take a second."""

PLUGIN = '''
from methods.independent import Independent

class Explosive(Independent):
    """Fails on purpose."""
    name = "explosive"
    def losses(self, outputs, labels, progress):
        raise RuntimeError("the fuse was short")
'''

CALM = PLUGIN.replace('raise RuntimeError("the fuse was short")', "return super().losses(outputs, labels, progress)")
"""The same, which trains."""


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    def assert_refused(self, *fragments: str) -> None:
        """One line that says what is wrong, and nothing else."""
        assert (self.code, self.out) == (2, "")
        assert self.err.startswith("bench: ")
        assert len(self.err.splitlines()) == 1
        for fragment in fragments:
            assert fragment in self.err


Bench = Callable[..., Answer]


def answer(words: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Give a command in this process."""
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
    capsys.readouterr()
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(str(end.code or 0))
    return Answer(code, *capsys.readouterr())


def process(folder: Path, *words: str, program: Sequence[str] = (BENCH,)) -> Answer:
    """Give a command in a process of its own."""
    done = subprocess.run([*program, *words], cwd=folder, capture_output=True, text=True, timeout=240)
    return Answer(done.returncode, done.stdout, done.stderr)
