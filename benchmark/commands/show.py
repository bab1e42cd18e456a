"""``bench show``."""

from benchmark.commands.options import ManyResults, Prefer, Run, places
from benchmark.words import tell


def show(run: Run, results: ManyResults = None, prefer: Prefer = None) -> None:
    """Print one run: its configuration, its result, its last metrics and the command that repeats it."""
    from benchmark.reports import lines
    from benchmark.store import find

    tell(*lines(find(places(results), run, prefer)))
