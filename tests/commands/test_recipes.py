"""A recipe of one's own through the command: trained, stored, shown, and refused where a loss cannot take it."""

import json
import re
from pathlib import Path

import pytest

from benchmark.configuration import DataConfig, TrainConfig
from benchmark.reports.page import recipe
from tests.command_line import Bench
from tests.reports.test_report import config

pytestmark = pytest.mark.usefixtures("small")
RECIPE = (
    *("--set", "train.optimizer=adamw", "--set", "train.lr=0.003", "--set", "train.label_smoothing=0.1"),
    *("--set", "data.augment=randaugment", "--set", "data.erase=0.25", "--set", "data.mix=mixup"),
)
WORDS = ("run", "--config", "small", "--methods", "dml", "--backbone", "resnet8", "--seeds", "1", *RECIPE)
INDICES_ALONE = '''
from methods.independent import Independent

class Picky(Independent):
    """Knows labels as class indices alone."""
    name = "picky"
    mixed_labels = None
    def losses(self, outputs, labels, progress):
        return {"mine": -outputs.peers[0].log_softmax(-1).gather(1, labels[:, None]).mean()}
'''


def test_a_run_with_all_of_it_is_trained_once_and_said_everywhere(bench: Bench) -> None:
    planned = bench(*WORDS, "--dry-run")
    assert planned.out.startswith("to do     dml digits resnet8 seed 0")
    assert "about " in planned.out
    assert bench(*WORDS).code == 0
    again = bench(*WORDS)
    assert "1 of 1 runs are finished already" in again.out
    [folder] = Path("results/runs").glob("dml-*")
    # the order of what is set is no difference, and alpha 1 is the default
    assert "finished  dml" in bench(*WORDS, "--set", "data.mix_alpha=1.0", "--dry-run").out
    shown = bench("show", folder.name).out
    for line in (r"optimizer +adamw", r"label_smoothing +0.1", r"augment +randaugment", r"erase +0.25", r"mix +mixup"):
        assert re.search(line, shown), line
    # the command that repeats it says all that differs from the dataset's recipe
    for word in RECIPE[1::2]:
        assert word in shown
    assert bench("report", "--out", "r.html").code == 0
    assert "adamw + randaugment augmentation + erase 0.25 + mixup + label smoothing 0.1" in Path("r.html").read_text()
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 1


# with a value that decides something it cannot be tried without numbers
BRANCHING = INDICES_ALONE.replace(
    "        return", "        assert float(outputs.peers.detach().sum()) < 1e9\n        return"
)


@pytest.mark.parametrize(
    ("setting", "source"), [("data.mix=cutmix", INDICES_ALONE), ("train.label_smoothing=0.1", BRANCHING)]
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_plug_in_that_knows_indices_alone_is_refused_before_anything_trains(
    bench: Bench, setting: str, source: str, more: tuple[str, ...]
) -> None:
    Path("picky.py").write_text(source)
    words = ("run", "--config", "small", "--plugin", "picky.py", "--methods", "picky,dml", "--seeds", "1", *more)
    bench(*words, "--set", setting).assert_refused(
        f"{setting.partition('=')[0]}: the losses of picky take no probabilities as labels (RuntimeError: ",
        "methods.objectives has cross_entropy and hard_labels",
    )
    assert not list(Path("results").glob("runs/*/metrics.jsonl"))


def test_a_learning_rate_of_sgd_is_remarked_upon(bench: Bench) -> None:
    words = ("run", "--config", "small", "--methods", "independent", "--seeds", "1", "--set", "train.optimizer=adamw")
    remark = "note: digits: train.lr=0.1 is a learning rate for sgd; adamw takes about 0.001"
    assert remark in bench(*words).out
    assert "note: " not in bench(*words, "--set", "train.lr=0.002").out


def test_a_recipe_in_words() -> None:
    plain = config("dml", 0)
    assert recipe(plain) == "sgd + standard augmentation"
    other = {"train": TrainConfig(optimizer="adamw"), "data": DataConfig(augment="none", mix="cutmix", mix_alpha=0.2)}
    assert recipe(plain.model_copy(update=other)) == "adamw + no augmentation + cutmix (alpha 0.2)"
