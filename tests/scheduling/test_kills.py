"""Commands that are killed at any moment lose nothing: the short form of ``make stress``, with fixed moments."""

from tests.stress import stress


def test_killed_commands_go_on_and_end_with_the_undisturbed_table() -> None:
    figures = stress(kills=8, seeds=2, seed=0)
    assert figures.good, str(figures)
    assert figures.kills.total() == 8
