"""What all tests share."""

import re
from collections import Counter

import pytest


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
