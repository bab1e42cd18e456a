"""Stored runs of chosen accuracies, as the store loads them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmark import store
from benchmark.configuration.run_config import DataConfig, RunConfig, TrainConfig
from benchmark.store import Result, Status, Store

FINISHED = Result(Status.FINISHED, students=("peer0",))

Accuracies = Mapping[str, Mapping[str, Sequence[float]]]


def frame(accuracies: Accuracies) -> pd.DataFrame:
    """Return finished runs of one student and one epoch.

    Args:
        accuracies: By method and dataset, those of seeds 0, 1, 2 and so on.
    """
    with TemporaryDirectory() as folder:
        kept = Store(Path(folder))
        for method, columns in accuracies.items():
            for dataset, values in columns.items():
                for seed, value in enumerate(values):
                    put(kept, config(method, dataset, seed), value)
        return store.load(folder)


def config(method: str, dataset: str, seed: int) -> RunConfig:
    """Return a run of one epoch."""
    return RunConfig(
        method=method,
        dataset=dataset,
        backbone="resnet8",
        seed=seed,
        train=TrainConfig(epochs=1),
        data=DataConfig(),
        hyperparameters={},
        method_version=1,
        dataset_checksum=dataset,
    )


def put(kept: Store, run: RunConfig, accuracy: float, environment: dict[str, str] | None = None) -> None:
    """Store a finished run of one student with this accuracy."""
    kept.begin(run)
    kept.write_metrics(run, [{"epoch": 0, "student": accuracy, "top1/peer0": accuracy, "nll/peer0": 1 / accuracy}])
    kept.write_result(run, replace(FINISHED, environment=environment))
