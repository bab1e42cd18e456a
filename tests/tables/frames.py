"""Stored runs of chosen accuracies, as the store loads them."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from benchmark import running, store
from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.store import Result, Status, Store
from benchmark.tables import Table, build
from tests import needs

ONE_STUDENT = Result(Status.FINISHED, students=("peer0",))

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


def config(method: str, dataset: str, seed: int, epochs: int = 1, **hyperparameters: Any) -> RunConfig:
    return RunConfig(
        method=method,
        dataset=dataset,
        backbone="resnet8",
        seed=seed,
        train=TrainConfig(epochs=epochs),
        data=DataConfig(),
        hyperparameters=hyperparameters,
        method_version=1,
        dataset_checksum=dataset,
    )


def put(kept: Store, run: RunConfig, accuracy: float, environment: dict[str, str] | None = None) -> None:
    """Store a finished run of one student with this accuracy."""
    kept.begin(run)
    kept.write_metrics(run, [{"epoch": 0, "student": accuracy, "top1/peer0": accuracy, "nll/peer0": 1 / accuracy}])
    kept.write_result(run, replace(ONE_STUDENT, environment=environment))


FINISHED = Result(Status.FINISHED, students=("peer0", "peer1"))


def texts(table: Table) -> dict[str, dict[str, str]]:
    """The cells of values by row and heading."""
    return {
        row: {
            heading.text: own.text() if (own := table.replicates.get((row, heading))) else ""
            for heading in table.headings
        }
        for row in table.rows
    }


class Runs:
    """A store that is filled with runs of chosen accuracies."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def add(self, *accuracies: float, seed: int = 0, ending: Result = FINISHED, **layer: Any) -> RunConfig:
        """Store a run whose students have these mean accuracies, an epoch each, 4 apart from each other."""
        asked = {"methods": "dml", "dataset": "digits", "seeds": f"{seed},"} | layer
        (run,) = running.prepare([asked | {"results": str(self.store.root)}]).runs
        self.put(run, *accuracies, ending=ending)
        return run

    def put(self, run: RunConfig, *accuracies: float, ending: Result = FINISHED) -> None:
        # a finished run has all of its epochs
        missing = run.train.epochs - len(accuracies) if ending.status is Status.FINISHED else 0
        before = accuracies[:1] * missing
        scores = [{"student": value, **self.scores(value)} for value in (*before, *accuracies)]
        self.store.begin(run)
        self.store.write_metrics(run, [{"epoch": epoch, **row} for epoch, row in enumerate(scores)])
        self.store.write_result(run, ending)

    @staticmethod
    def scores(student: float) -> dict[str, float]:
        top1 = {"peer0": student - 2, "peer1": student + 2, "ensemble": student + 5}
        top5 = {f"top5/{name}": 99.0 for name in top1}
        return {f"top1/{name}": value for name, value in top1.items()} | top5 | {"nll/peer0": 0.5, "nll/peer1": 0.7}

    def table(self, *scores: str) -> Mapping[str, Mapping[str, str]]:
        """The cells by row and column."""
        return texts(build(store.load(self.store.root, split="all"), scores or ("student",)))


def compiled(folder: Path, preamble: str, body: str) -> str:
    """Compile a LaTeX document in a folder and return what pdflatex says; a test is skipped without it."""
    needs.programs("pdflatex", packages="texlive-latex-recommended")
    document = f"{preamble}\\usepackage{{booktabs}}\n\\begin{{document}}{body}\\end{{document}}\n"
    (folder / "main.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


# a paper's runs: three methods on two datasets and two networks, and a second setting of one of them

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
