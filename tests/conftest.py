"""What all tests share."""

import atexit
import gc
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from rich.console import Console

from tests import profiles

if TYPE_CHECKING:
    from tests.browser import Browser
    from tests.command_line import Bench
    from tests.tables.frames import Story

profiles.register()

# until all tests are collected: it would find nothing among the modules that they import
gc.disable()


def seed_all() -> None:
    """Let no random numbers, and no sums' order, depend on the tests that ran before in the same process."""
    random.seed(0)
    np.random.seed(0)
    # where it is not imported yet it begins with a seed of its own that is always the same
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of wider scope: whichever test asks for them first, they draw the same."""
    seed_all()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """After them, and before a test's own fixtures, which may choose another seed."""
    seed_all()


SLOW = (
    *("checking/test_contract", "training/test_determinism", "scheduling/test_faults", "scheduling/test_cluster"),
    *("methods/test_backbones", "scheduling/test_resume", "commands/test_cli", "test_page_commands"),
    *("commands/test_bad_input", "sweeps/test_sweep", "methods/test_plugin_networks", "speed/test_equal_cost"),
    *("training/test_fast_paths", "checking/test_more_than_logits", "commands/test_library_networks"),
    *("hardware/test_deep", "training/test_pretended_device"),
)
"""The files that take longest, the longest first: one that a worker begins last is one that the others wait for."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first, whole and in the same order in every process."""
    places = {str(Path(__file__).parent / f"{name}.py"): place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what stays to the end: all modules, and thousands of tests."""
    gc.freeze()
    gc.enable()
    # at the very end libraries look for what they leaked, and are to find nothing
    atexit.register(gc.unfreeze)


_REFERENCE = r"test_golden\w*\.py::test_(golden|trajectory)\w*(?:\[([a-z0-9-]+?)(?:-\w+=|-\d{3}\]|\]))?"
"""A reference case: the kind of test, and what comes before the parameters in its id."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the reference cases that passed, by name."""
    passed: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        case = re.search(_REFERENCE, report.nodeid)
        if case:
            passed[f"{case[1]} {case[2] or 'schedules'}"] += 1
    if passed:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(passed.items()))
        terminalreporter.write_line(f"reference cases passed: {sum(passed.values())} ({counts})")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say last, after the numbers of tests, what was not tested and what it takes to have it tested.

    A reason to skip ends in the command that removes it.
    """
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # the processes that run a share of the tests have no terminal
    if reporter is None:
        return
    skipped = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", []))
    if skipped:
        reporter.write_line(f"NOT TESTED: {skipped.total()} skipped", yellow=True, bold=True)
    for reason, count in sorted(skipped.items()):
        reporter.write_line(f"{count:>4}  {reason}", yellow=True)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Bench":
    """The command in this process and an empty folder."""
    from tests.command_line import answer

    monkeypatch.chdir(tmp_path)
    return lambda *words: answer(words, monkeypatch, capsys)


@pytest.fixture
def small(tmp_path: Path) -> None:
    """``--config small``: runs of a second in this process."""
    from tests.command_line import SMALL

    (tmp_path / "small").write_text(yaml.safe_dump(SMALL), encoding="utf-8")


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder to read: DML and PCL, two seeds, two epochs on thirty digits, with the students' weights."""
    from benchmark import running

    results = tmp_path_factory.mktemp("results")
    layer = {
        "methods": ["pcl", "dml"],
        "dataset": "digits",
        "seeds": 2,
        "epochs": 2,
        "data": {"train_per_class": 3, "test_per_class": 5},
        "results": str(results),
        "engine": "serial",
        "device": "cpu",
        "save_students": True,
    }
    assert running.carry_out(running.prepare([layer]), Console(quiet=True))
    return results


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> "Story":
    """A paper's runs, to be read: three methods on two datasets and two networks, and a second setting of one."""
    from tests.tables.frames import Story, tell_all

    return tell_all(Story(tmp_path_factory.mktemp("story")))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """A window of a browser."""
    from tests import needs
    from tests.browser import browser

    needs.programs("chromium", "chromedriver", packages="chromium chromium-driver")
    with browser(tmp_path_factory.mktemp("chromium")) as window:
        yield window
