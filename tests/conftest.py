"""What all tests share."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from rich.console import Console

# how long an example takes says nothing about it where other work shares the machine
settings.register_profile("okdbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("okdbench")


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
