"""Commands that are killed at any moment lose nothing: the short form of ``make stress``, with fixed moments."""

import pytest

from tests.stress import stress


# on a machine that is busy with other things a command takes ten times as long
@pytest.mark.timeout(900)
def test_killed_commands_go_on_and_end_with_the_undisturbed_table() -> None:
    figures = stress(kills=4, seeds=3, seed=0)
    assert figures.good, str(figures)
    assert figures.kills.total() == 4
