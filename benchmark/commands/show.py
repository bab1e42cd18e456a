"""``bench show``."""

from pathlib import Path

from benchmark.commands.options import Results, Run


def show(run: Run, results: Results = Path("results")) -> None:
    """Print one run: its configuration, its result, its last metrics and the command that repeats it."""
    from benchmark.reports import lines
    from benchmark.store import lookup

    print("\n".join(lines(lookup.find(results, run))))
