"""Where the tracebacks of failed runs lie."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.store import ERROR, Status


def located(frame: pd.DataFrame, results: Sequence[Path]) -> pd.DataFrame:
    """Return the runs with ``error``, the path of a failed run's traceback where there is one.

    Args:
        frame: From :func:`benchmark.store.load`.
        results: The results folders that it was loaded from.
    """
    failed = frame.loc[frame["status"] == str(Status.FAILED), "run"].unique()
    paths = ((str(run), root / "runs" / str(run) / ERROR) for root in results for run in failed)
    there = {run: str(path) for run, path in paths if path.is_file()}
    return frame.copy().assign(error=frame["run"].map(there)) if there else frame
