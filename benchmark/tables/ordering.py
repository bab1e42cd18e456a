"""The order of rows and columns, and the last epoch of each run."""

import re
import sys
from functools import cache

import pandas as pd

from methods import registry


def method_order(name: str) -> tuple[int, str]:
    """Return a key that sorts methods as they are listed: by their publication, unknown ones last."""
    known = _places(tuple(sys.path))
    return known.get(name, len(known)), name


@cache
def _places(path: tuple[str, ...]) -> dict[str, int]:
    # installed packages are looked for once: thousands of rows are sorted by this
    return {name: place for place, name in enumerate(registry.catalogue())}


def natural(label: str) -> list[str | float]:
    """Return a key that sorts labels by the numbers in them: ``resnet8`` before ``resnet14``."""
    # words and numbers take turns, so that like is compared with like
    return [float(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", label))]


def summaries(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run: its last epoch and ``best_epoch``.

    Args:
        frame: From :func:`benchmark.store.load`, of all epochs or of the last ones.
    """
    if "best_epoch" in frame.columns:
        last = frame.copy(deep=False)
        # pandas would copy what stands there for every group of runs
        last.attrs = {}
        return last
    last = frame.drop_duplicates("run", keep="last").copy()
    if "student" not in frame.columns:
        return last.assign(best_epoch=float("nan"))
    best = frame.groupby("run", sort=False)["student"].max()
    return last.assign(best_epoch=last["run"].map(best))
