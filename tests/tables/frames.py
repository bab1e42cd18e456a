"""Runs of chosen accuracies as the store would load them, without a store."""

from collections.abc import Mapping, Sequence

import pandas as pd

Accuracies = Mapping[str, Mapping[str, Sequence[float]]]


def frame(accuracies: Accuracies) -> pd.DataFrame:
    """Return finished runs of one student and one epoch.

    Args:
        accuracies: By method and data set, those of seeds 0, 1, 2 and so on.
    """
    rows = [
        {
            "run": f"{method}-{dataset}-{seed}",
            "method": method,
            "dataset": dataset,
            "backbone": "resnet8",
            "seed": seed,
            "epoch": 0,
            "status": "finished",
            "reason": "",
            "students": "peer0",
            "split": "test",
            "student": value,
            "top1/peer0": value,
            "nll/peer0": 1 / value,
        }
        for method, columns in accuracies.items()
        for dataset, values in columns.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)
