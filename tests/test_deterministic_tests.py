"""What the tests promise of themselves: the same examples every time, and no skipped test that nobody hears of."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest
from tools import fuzz

ROOT = Path(fuzz.__file__).parents[1]
OURS = ("-p", "tests.conftest")
PROPERTY = """
from hypothesis import given, strategies as st
from tests.profiles import examples

DRAWN = []


@examples(25)
@given(st.integers() | st.text())
def test_draws(value):
    DRAWN.append(value)


def test_says_so():
    print("drawn:", len(DRAWN), ascii(DRAWN))
"""
FAILS = """
from hypothesis import given, strategies as st


@given(st.integers(0, 2**64))
def test_fails(number):
    assert number < 2**63 + 12345
"""


def run(path: Path, content: str, *words: str) -> str:
    """What pytest prints of a file of tests, with this folder's configuration."""
    path.write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *OURS, "-p", "no:cacheprovider", *words, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240).stdout


def test_the_files_that_are_called_slow_are_there() -> None:
    assert [name for name in conftest.SLOW if not (ROOT / "tests" / f"{name}.py").is_file()] == []


def drawn(path: Path, *words: str, content: str = PROPERTY) -> str:
    _, _, after = run(path, content, "-p", "no:xdist", "-s", *words).partition("drawn: ")
    return after.partition("\n")[0]


@pytest.mark.thorough
def test_examples_are_the_same_every_time_whatever_was_imported_before(tmp_path: Path) -> None:
    first = drawn(tmp_path / "test_it.py")
    assert first.startswith("25 ")
    assert drawn(tmp_path / "test_it.py", content=f"import benchmark.configuration.run_config\n{PROPERTY}") == first
    # a seed has no say
    assert drawn(tmp_path / "test_it.py", "--hypothesis-seed=1") == first


def test_no_test_has_a_number_of_examples_that_the_profile_cannot_scale() -> None:
    # profiles.py turns numbers into settings; this file names them
    others = {Path(__file__).with_name("profiles.py"), Path(__file__)}
    files = [path for path in Path(__file__).parent.rglob("*.py") if path not in others]
    assert len(files) > 1
    assert [path.name for path in files if "max_examples" in path.read_text(encoding="utf-8")] == []


@pytest.mark.thorough
def test_fuzz_ends_with_the_first_failure_and_the_command_that_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    path = tmp_path / "test_it.py"
    path.write_text(FAILS, encoding="utf-8")
    assert not fuzz.fuzz(10, [*OURS, str(path)], lambda bits: 1)
    printed = capfd.readouterr().out
    assert "round 1 failed" in printed
    command = printed.splitlines()[-1]
    again = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=240)
    assert again.returncode == 1
    # where CI is set, pytest does not shorten its summary, and the line is there a second time
    (blob,) = set(re.findall(r"@reproduce_failure\(.*\)", printed))
    assert blob in again.stdout
