"""A paper's runs: three methods on two datasets and two networks, and a second setting of one of them."""

from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import store
from benchmark.configuration import RunConfig
from benchmark.tables.table import Table, build
from tests.tables.test_tables import FINISHED, Runs

COLUMNS = ("cifar10/resnet14", "cifar10/resnet8", "digits/resnet14", "digits/resnet8")


class Story(Runs):
    """Runs of one planned once and then changed, as a paper's commands would have made them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.planned: dict[str, RunConfig] = {}

    def tell(self, method: str, place: str, seed: int, accuracy: float, epochs: int = 3, **settings: Any) -> None:
        """Store a finished run of a method at ``dataset/backbone``."""
        if method not in self.planned:
            self.planned[method] = self.add(1.0, methods=method, seed=99)
            for folder in self.store.folder(self.planned[method]).iterdir():
                folder.unlink()
            self.store.folder(self.planned[method]).rmdir()
        run = self.planned[method]
        dataset, _, backbone = place.partition("/")
        changes: dict[str, Any] = {"dataset": dataset, "backbone": backbone, "seed": seed}
        changes["train"] = run.train.model_copy(update={"epochs": epochs})
        changes["hyperparameters"] = {**run.hyperparameters, **settings}
        run = run.model_copy(update=changes)
        self.store.begin(run)
        rows = [{"epoch": e, "student": accuracy, "loss": 1.0, **self.scores(accuracy)} for e in range(epochs)]
        self.store.write_metrics(run, rows)
        self.store.write_result(run, FINISHED)

    @property
    def frame(self) -> pd.DataFrame:
        return store.load(self.store.root)

    def built(self, baseline: str | None = None) -> Table:
        return build(self.frame, baseline=baseline)


def tell_all(told: Story) -> Story:
    """Fill a store with the whole story."""
    for number, method in enumerate(("independent", "dml", "dkel")):
        for place in COLUMNS:
            for seed in range(3):
                told.tell(method, place, seed, 60.0 + 3 * number + seed * (1 + 0.1 * number))
    for seed in range(3):
        told.tell("dkel", "cifar10/resnet8", seed, 70.0 + seed * 1.1, decay="none")
    return told
