"""What stands under a table whose runs were not all made alike."""

import pandas as pd

from benchmark.store import DAMAGED

KINDS = {
    "hardware": "devices",
    "precision": "arithmetic",
    "deterministic": "repeatable and free kernels (deterministic)",
    "torch": "versions of torch",
    "torchvision": "versions of torchvision",
    "cuda": "versions of CUDA",
    "numpy": "versions of numpy",
    "okdbench": "versions of okdbench",
    "commit": "commits of okdbench",
}
"""What a run's environment says, and what the runs of a table mix if they differ in it."""

SHOWN = 4


def footnotes(frame: pd.DataFrame) -> list[str]:
    """Return one line for each thing that the finished runs of a table mix, and one for the runs that are left out.

    Args:
        frame: From :func:`benchmark.store.load`; a run that says nothing of a thing does not count for it.
    """
    finished = frame[frame["status"] == "finished"].drop_duplicates("run")
    damaged = len(frame.attrs.get(DAMAGED, ()))
    lines = [f"note: {damaged} damaged {'run is' if damaged == 1 else 'runs are'} left out"] if damaged else []
    for kind, called in KINDS.items():
        column = f"environment.{kind}"
        if column not in finished.columns:
            continue
        given = finished[column].dropna()
        counts = given[given != ""].value_counts()
        if len(counts) > 1:
            named = [f"{value} ({count} runs)" for value, count in counts.head(SHOWN).items()]
            others = [f"{len(counts) - SHOWN} more"] if len(counts) > SHOWN else []
            lines.append(
                f"note: this table mixes {called}: {', '.join([*named, *others])}".replace("(1 runs)", "(1 run)")
            )
    return lines
