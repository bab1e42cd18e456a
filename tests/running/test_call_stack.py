"""How many modules a person has to know to follow a batch from the command to the store."""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.command_line import answer

MOST = 10


def test_from_the_command_to_the_store_there_are_ten_modules_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entered: Counter[str] = Counter()
    deepest: set[str] = set()
    passed: set[str] = set()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal deepest
        name = str(frame.f_globals.get("__name__", ""))
        # a package's own module forwards names, and the body of a module runs once, when it is imported
        if not name.startswith("benchmark.") or frame.f_code.co_name == "<module>":
            return
        if event == "call":
            entered[name] += 1
            passed.add(name)
            if len(entered) > len(deepest):
                deepest = set(entered)
        elif event == "return" and name in entered:
            entered[name] -= 1
            if not entered[name]:
                del entered[name]

    words = ["run", "--methods", "dml", "--dataset", "digits", "--seeds", "1", "--epochs", "1", "--engine", "serial"]
    small = ["--set", "data.train_per_class=2", "--set", "data.test_per_class=2", "--results", str(tmp_path)]
    sys.setprofile(profile)
    try:
        assert answer([*words, *small], monkeypatch, capsys).code == 0
    finally:
        sys.setprofile(None)
    assert {"benchmark.cli", "benchmark.running.batch", "benchmark.scheduling.execution"} <= passed
    assert len(deepest) <= MOST, sorted(deepest)
