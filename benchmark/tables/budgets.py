"""Runs of equal epochs and runs of equal cost: which comparison a row of a table belongs to."""

import pandas as pd

from benchmark.configuration import EQUAL_EPOCHS
from benchmark.store import BUDGETS_JOINED_BY


def one_budget_a_row(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with ``budget``: a run that belongs to several comparisons stands once in each.

    ``budget`` is empty for equal epochs where there is no other comparison. In a comparison of equal cost the length
    of a run follows from its method, so that ``train.epochs`` is no difference between its runs.

    Args:
        frame: With the columns of :func:`benchmark.store.load`, one row per run.
    """
    runs = frame.copy()
    runs["budget"] = runs["budgets"].str.split(BUDGETS_JOINED_BY, regex=False)
    runs = runs.explode("budget", ignore_index=True)
    by_cost = runs["budget"] != EQUAL_EPOCHS
    runs["train.epochs"] = runs["train.epochs"].mask(by_cost)
    if not by_cost.any():
        runs["budget"] = ""
    return runs
