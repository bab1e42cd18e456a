"""The commands that keep, show and write predictions, and their answers to bad words."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.store import PREDICTIONS, read_predictions
from tests.command_line import Bench

pytestmark = pytest.mark.usefixtures("small")

RUN = "run --methods dml --dataset digits --seeds 1 --backbone resnet8 --config small"


def folder_of(results: Path) -> Path:
    (found,) = (results / "runs").glob("dml-*")
    return found


def test_a_run_s_predictions_from_training_to_figures_and_arrays(bench: Bench, tmp_path: Path) -> None:
    answer = bench(*RUN.split(), "--save-predictions", "--set", "train.class_accuracy=true")
    assert answer.code == 0, answer.err
    folder = folder_of(tmp_path / "results")
    shown = bench("show", folder.name).out
    assert re.search(r"^ *predictions +saved", shown, re.MULTILINE)
    assert shown.rstrip().endswith(" --save-predictions")
    answer = bench("table", "--value", "worst-class,cka,classes")
    assert answer.code == 0
    assert "digits/resnet8 worst-class | digits/resnet8 cka | digits/resnet8 class 0 | " in answer.out
    assert "digits/resnet8 class 9 |" in answer.out
    for words in ("confusion", "confusion --predictor ensemble", f"agreement --run {folder.name} "):
        assert bench("plot", *words.split(), "--out", "figure.svg").out == "figure.svg\n"
    bench("plot", "confusion", "--predictor", "peer7").assert_refused("unknown predictor 'peer7'", "valid: ensemble, p")
    assert (
        "predictors, 20 test images, 10 classes (peer0, peer1, ensemble)"
        in bench("predict", folder.name, "--out", "new/dml.npz").out
    )
    written, kept = np.load("new/dml.npz"), read_predictions(folder)
    assert written["predictors"].tolist() == list(kept.logits)
    assert written["classes"].tolist() == list(kept.classes)
    np.testing.assert_array_equal(written["logits"], np.stack([*kept.logits.values()]))
    np.testing.assert_array_equal(written["predicted"], written["logits"].argmax(axis=2))
    np.testing.assert_array_equal(written["labels"], kept.labels)
    np.testing.assert_array_equal(written["images"], kept.images)
    content = (folder / PREDICTIONS).read_bytes()
    (folder / PREDICTIONS).write_bytes(content[:-1])
    for words in ("plot confusion", f"predict {folder.name} --out x.npz"):
        bench(*words.split()).assert_refused(f"{PREDICTIONS} is damaged: ")
    assert not Path("x.npz").exists()
