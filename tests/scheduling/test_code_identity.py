"""A run is its configuration and its code: an edited plug-in trains again, an edited comment does not."""

import re
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmark import datasets, running, store
from benchmark.configuration import Request, RunConfig, plan
from benchmark.reports import lines
from benchmark.scheduling import Execution, Job
from benchmark.store import Status, Store
from benchmark.tables import build, plain
from tests.plans import advance

METHOD = '''from methods.independent import Independent

WEIGHT = 1.0


class Mine(Independent):
    """Mine."""

    name = "mine"

    def losses(self, outputs, labels, progress):
        return {name: WEIGHT * term for name, term in super().losses(outputs, labels, progress).items()}
'''

DATA = '''import numpy as np

from benchmark.datasets import Arrays

SHIFT = 0


def stripes(root) -> Arrays:
    """Stripes, across or along."""
    labels = np.arange(40) % 2
    pixels = np.zeros((40, 8, 8), dtype=np.uint8)
    pixels[labels == 0, ::2] = 200
    pixels[labels == 1, :, ::2] = 200
    return Arrays(pixels, labels + 0 * SHIFT, pixels[:8], labels[:8])
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "data.py").write_text(DATA)
    return tmp_path


def command(place: Path, dataset: str = "stripes", methods: str = "mine") -> running.Command:
    layer = {"methods": methods, "dataset": dataset, "backbone": "resnet8", "seeds": 1, "epochs": 1}
    where = {"results": str(place / "results"), "engine": "serial", "device": "cpu", "train": {"batch_size": 20}}
    return running.prepare([layer | where], (str(place / "mine.py"), str(place / "data.py")))


def carry_out(place: Path, dataset: str = "stripes") -> int:
    """Give the command, and return how many runs it trained."""
    given = command(place, dataset)
    trained = len(given.missing())
    assert running.carry_out(given, Console(quiet=True))
    return trained


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_edited_loss_trains_again_and_an_edited_comment_does_not(place: Path) -> None:
    assert carry_out(place) == 1
    assert carry_out(place) == 0
    edit(place / "mine.py", "WEIGHT = 1.0", "WEIGHT = 1.0  # of every term\n")
    edit(place / "data.py", "SHIFT = 0", "SHIFT = 0  # none\n")
    assert carry_out(place) == 0
    edit(place / "mine.py", "WEIGHT = 1.0", "WEIGHT = 0.0")
    assert carry_out(place) == 1
    frame = store.load(place / "results")
    losses = frame.set_index("method.source")["loss"]
    assert sorted(losses > 0) == [False, True]
    # two codes are never averaged
    rows = plain(build(frame))
    assert all(f"mine, source={source[:8]}" in rows for source in losses.index)
    kept = {path.stem: path.read_text() for path in (place / "results/sources").iterdir()}
    assert kept.keys() >= set(losses.index)
    assert "WEIGHT = 0.0" in kept[losses[losses == 0].index[0]]
    shown = "\n".join(lines(store.read(place / "results").found[0]))
    assert re.search(r"method source +(\w+)", shown)[1] in kept  # type: ignore[index]


def test_an_edited_data_set_trains_again_even_if_its_images_stay(place: Path) -> None:
    assert carry_out(place) == 1
    edit(place / "data.py", "SHIFT = 0", "SHIFT = 1")
    assert carry_out(place) == 1
    frame = store.load(place / "results")
    assert frame["dataset.checksum"].nunique() == 1
    assert len(re.findall("source=", plain(build(frame)))) == 2


def test_own_methods_and_data_sets_have_no_such_key(place: Path) -> None:
    plugged, mixed, own = (command(place, *words).runs[0] for words in ((), ("digits",), ("digits", "dml")))
    assert [set(run.sources) for run in (plugged, mixed)] == [{"method", "dataset"}, {"method"}]
    assert "sources" not in own.model_dump(mode="json")
    assert "sources" in mixed.model_dump(mode="json")


def test_a_run_that_was_stored_before_is_read_and_counts_as_another(place: Path) -> None:
    now = command(place, "digits").runs[0]
    before = RunConfig(**{key: value for key, value in now.model_dump().items() if key != "sources"})
    folder = Store(place / "results").begin(before)
    stored = RunConfig(**yaml.safe_load((folder / "config.yaml").read_text()))
    assert stored.identity == before.identity != now.identity
    assert store.load(place / "results")["run"].tolist() == [folder.name]


def test_code_that_changes_between_plan_and_run_is_not_run(place: Path) -> None:
    given = command(place, "digits")
    sets = running.load_sets(given, given.runs)
    edit(place / "mine.py", "WEIGHT = 1.0", "WEIGHT = 2.0")
    job = Job(given.store.root, "cpu", plugins=given.plugins)
    execution = Execution(given.runs[0], job, sets["digits"])
    assert "epoch" not in advance(execution)
    result = execution.result
    assert result is not None
    assert result.status is Status.FAILED
    assert "the code of the method" in result.reason
    assert given.missing() == list(given.runs)


OF_TODAY = [
    ({"methods": "independent", "dataset": "digits"}, "3f264132762a"),
    (
        {"methods": "dml", "dataset": "digits", "epochs": 2, "data": {"train_per_class": 5, "test_per_class": 5}},
        "9372662aeeed",
    ),
    ({"methods": "pcl", "dataset": "cifar10", "backbone": "resnet20", "train": {"lr": 0.05}}, "067ad74f9c9d"),
    (
        {"methods": "dkel", "dataset": "cifar100", "backbone": "resnet32", "data": {"holdout": 0.1}}
        | {"dkel": {"ramp": "none", "decay": "linear", "decay_rate": 0.5}},
        "b8d72e158f4e",
    ),
    ({"methods": "dml", "dataset": "fashion-mnist", "backbone": "resnet32+wide_resnet20_8"}, "656452f18992"),
    ({"methods": "okddip", "dataset": "tinyimagenet", "data": {"image_size": 32}}, "0dec0a7b25f9"),
]


@pytest.mark.parametrize(("layer", "identity"), OF_TODAY)
def test_runs_of_this_project_that_were_stored_before_are_found(
    layer: dict[str, object], identity: str, tmp_path: Path
) -> None:
    (run,) = plan(Request([{"seeds": "7,", **layer}], (), tmp_path), datasets)
    assert run.identity == identity


@pytest.mark.parametrize("dataset", ["npz:/a b/x.npz", "torchvision:SVHN", "hf:owner/photos", "folder:../photos"])
def test_forms_of_data_sets_make_plain_folder_names(dataset: str, place: Path) -> None:
    (run,) = command(place, "digits", "dml").runs
    named = run.model_copy(update={"dataset": dataset})
    assert re.fullmatch(r"dml-[\w-]+-resnet8-s0-[0-9a-f]{12}", Store(place / "results").folder(named).name)
