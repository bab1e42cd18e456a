"""A site of few runs, made once and only read."""

import shutil
from pathlib import Path

import pytest

from benchmark import exchange
from benchmark.site import Built, build
from benchmark.store import Status, Store
from tests.reports.test_report import EVIL, config, store_run

SUBMISSIONS = Path(__file__).parents[2] / "submissions"


def make_results(root: Path) -> Path:
    """Three methods with three seeds on one dataset, two of them on another, in a bundle; one run failed."""
    store = Store(root)
    for number, method in enumerate(("independent", "dml", "pcl")):
        for seed in range(3):
            store_run(store, config(method, seed), 90 - 3 * number + (1 + number) * seed / 10)
    store_run(store, config("pcl", 3), 50, Status.FAILED, EVIL)
    other = Store(root / "other")
    for method in ("independent", "dml"):
        store_run(other, config(method, 0, dataset="cifar10"), 70)
    exchange.pack(other.root, root / "lab" / "runs.tar.gz")
    shutil.rmtree(other.root)
    return root


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a bundle below it."""
    return make_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    """The folder of the site of these results and the submissions of the repository, and what is in it."""
    out = tmp_path_factory.mktemp("made") / "site"
    return out, build([results], out, SUBMISSIONS)
