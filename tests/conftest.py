"""What all tests share."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests import profiles

profiles.register()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the reference cases that passed, by name."""
    passed: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        case = re.search(r"test_golden\.py::test_(golden|trajectory)\w*\[?(dkel-released|\w+)?", report.nodeid)
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
