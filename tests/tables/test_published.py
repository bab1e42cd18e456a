"""The published numbers: spot checks against numbers typed here, what holds for all of them, and ours beside them."""

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from benchmark import store
from benchmark.configuration import RunConfig, parse_yaml
from benchmark.tables import published
from benchmark.tables.rendering import TEXT_FORMATS as FORMATS
from methods.backbones import catalogue
from tests.tables.frames import Runs

TEXT = files("benchmark.tables").joinpath("published.yaml").read_text(encoding="utf-8")
NUMBERS = published.load()

SPOT_CHECKS = """
pcl-paper dml cifar100 resnet32: 73.68 ± 0.14
pcl-paper cl cifar100 resnet110: 78.83 ± 0.58
pcl-paper ffl cifar100 vgg16: 70.87 ± 0.99
pcl-paper okddip cifar100 densenet40_12: 71.23 ± 0.14
pcl-paper pcl cifar100 wide_resnet20_8: 80.51 ± 0.49
pcl-paper one cifar10 resnet32: 94.20 ± 0.12
pcl-paper dml cifar10 resnet110: 94.53 ± 0.25
pcl-paper pcl cifar10 vgg16: 94.74 ± 0.02
pcl-paper kdcl cifar10 densenet40_12: 93.87 ± 0.08
pcl-paper cl cifar10 wide_resnet20_8: 94.59 ± 0.08
pclr pcl cifar100 resnet32: 74.77
pclr pcl cifar100 resnet110: 79.07
pclr pcl cifar10 vgg16: 93.87
mcl-okd independent cifar100 resnet32: 71.09
mcl-okd dml cifar100 resnet32: 75.08, ensemble 77.03
mcl-okd cl cifar100 vgg16_1fc: 76.42, ensemble 77.04
mcl-okd one cifar100 densenet40_12: 70.99, ensemble 71.33
mcl-okd okddip cifar100 resnet110: 78.95, ensemble 80.60
mcl-okd mcl_okd cifar100 hcgnet_a1: 81.28, ensemble 82.46
mcl-okd mcl-only cifar100 resnet110: 78.35
mcl-okd mcl_okd imagenet resnet34_imagenet: 75.36, ensemble 76.74
kdclr independent cifar100 resnet56_kdclr+resnet20_kdclr: 72.34; 69.06
kdclr kdcl-mean cifar100 resnet56_kdclr+resnet20_kdclr: 74.40; 70.58
kdclr kdcl-mean cifar100 wrn_40_2_kdclr+wrn_16_1: 77.53; 67.73
kdclr kdcl-mean cifar100 resnet32x4_kdclr+shufflenet_v2_kdclr: 80.16; 75.35
yuki independent cifar100 resnet32_option_a: 71.19, best 71.24
yuki kd cifar100 resnet32_option_a: 72.17, best 72.34
yuki dml cifar100 resnet32_option_a+wrn_28_2_yuki: 72.86, best 73.05; 76.49, best 76.67
yuki dml cifar100 resnet32_option_a+wrn_28_2_yuki+wrn_28_2_yuki+resnet32_option_a: \
73.58, best 73.60; 77.52, best 77.65; 77.29, best 77.43; 73.32, best 73.36
mcl-2022 mcl cifar100 resnet32: 72.96 ± 0.28
mcl-2022 mcl-branches cifar100 resnet110_mcl: 78.82 ± 0.14
mcl-2022 independent cifar100 wrn_16_2_mcl: 72.55 ± 0.24
switokd switokd cifar10 wrn_16_1_switokd+wrn_16_8_switokd: 92.50; 94.76
switokd dml cifar100 mobilenet_v2_half_switokd+wrn_16_2_switokd: 66.23; 73.85
switokd kdcl tinyimagenet resnet20_switokd+wrn_16_2_switokd: 53.74; 57.71
switokd switokd-2t1s cifar100 mobilenet_switokd+wrn_16_2_switokd+wrn_16_10_switokd: 65.03; 71.73; 77.07
"""
"""Of each network its accuracy, beside it the deviation, the ensemble's or the best epoch's accuracy."""

RUNS_AND_EPOCH = {"pcl-paper": (None, "unknown"), "pclr": (1, "best"), "yuki": (1, "last"), "mcl-2022": (3, "best")}


@pytest.mark.parametrize("line", SPOT_CHECKS.strip().splitlines())
def test_spot_checks(line: str) -> None:
    place, _, numbers = line.partition(": ")
    source, method, dataset, backbone = place.split()
    found = [number for number in published.find(method, dataset, backbone) if number.source == source]
    assert [number.network for number in found] == backbone.split("+")
    for number, text in zip(found, numbers.split("; "), strict=True):
        accuracy, _, std = text.partition(",")[0].partition(" ± ")
        kind, _, other = text.partition(", ")[2].partition(" ")
        assert number.accuracy == pytest.approx(float(accuracy), abs=1e-9)
        if source != "switokd":
            assert number.std == (float(std) if std else None)
        assert number.ensemble == (pytest.approx(float(other), abs=1e-9) if kind == "ensemble" else None)
        assert number.best_epoch == (float(other) if kind == "best" else None)
        assert (number.runs, number.epoch) == RUNS_AND_EPOCH.get(source, (number.runs, number.epoch))
        assert ("100 - error" in number.protocol) == (source == "mcl-okd")
        assert source != "switokd" or (number.std is None) == ("2t1s" in method)


def test_counts() -> None:
    assert Counter(number.source for number in NUMBERS) == {
        "pcl-paper": 7 * 5 * 2,
        "pclr": 5 * 2,
        "mcl-okd": 6 * 5 + 5 + 2,
        "kdclr": 13 * 4,
        "yuki": 9,
        "mcl-2022": 3 * 3,
        "switokd": 4 * 8 + 15,
    }
    assert sum(number.ensemble is not None for number in NUMBERS) == 5 * 5 + 1
    assert sum(number.std is not None for number in NUMBERS) == 70 + 9 + 32


def test_every_number() -> None:
    for number in NUMBERS:
        source = published.content().sources[number.source]
        assert source.url.startswith("https://github.com/")
        assert number.protocol == "; ".join(source.differences)
        assert number in published.find(number.method, number.dataset, number.backbone)
        assert number.std is None or 0 < number.std < 1
        assert number.ensemble is None or number.ensemble > number.accuracy
        assert number.best_epoch is None or number.best_epoch >= number.accuracy


def test_nothing_of_what_was_not_found() -> None:
    for method in ("dkel", "ahbf", "okdph"):
        assert not [number for number in NUMBERS if method in number.method]
    assert {number.source for number in NUMBERS if number.dataset == "tinyimagenet"} == {"switokd"}
    assert not published.find("dkel", "cifar100", "resnet32")


def test_other_networks_never_stand_beside_ours() -> None:
    ours = {number.backbone for number in NUMBERS if number.source in ("pcl-paper", "pclr")}
    assert ours == {"resnet32", "resnet110", "vgg16", "densenet40_12", "wide_resnet20_8"}
    foreign = {number.backbone for number in NUMBERS} - ours
    assert not foreign & set(catalogue.available())
    assert not {part for name in foreign for part in name.split("+")} & (set(catalogue.available()) | ours)
    shared = {"mcl-okd": {"resnet32", "resnet110", "densenet40_12"}, "mcl-2022": {"resnet32"}}
    for source in set(published.content().sources) - {"pcl-paper", "pclr"}:
        assert {number.backbone for number in NUMBERS if number.source == source} & ours == shared.get(source, set())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dataset: cifar10\n", "dataset: cifar11\n"),
        ("predictor: the first peer", "predicter: the first peer"),
        ("epoch: last", "epoch: lsat"),
        ("[73.68, 0.14]", "[7368, 0.14]"),
        ("[73.68, 0.14]", "['73.68', 0.14]"),
    ],
)
def test_a_typo_is_an_error(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError, match="validation error"):
        published.Content.model_validate(parse_yaml(TEXT.replace(right, wrong, 1), "published.yaml"))


def test_names_of_the_file_fit_together() -> None:
    content = published.content()
    declared = {}
    for kind, names in (("method", content.methods), ("network", content.networks)):
        assert not set(names["ours"]) & set(names["others"])
        declared[kind] = {*names["ours"], *names["others"]}
        assert {getattr(number, kind) for number in NUMBERS} == declared[kind]
    for table in content.tables:
        assert (table.cells[0], len(set(table.cells))) == ("accuracy", len(table.cells))
        assert len(table.networks or table.methods) == len(table.methods)
        for backbone, row in table.rows.items():
            assert all(not isinstance(cell, list) or len(cell) == len(table.cells) for cell in row)
            parts = backbone.split("+")
            assert set(parts) <= declared["network"]
            assert len(parts) == 1 or not set(parts) & set(content.networks["ours"])
            assert set(table.networks or ()) == (set(range(1, len(parts) + 1)) if len(parts) > 1 else set())
    assert {table.source for table in content.tables} == content.sources.keys()
    for key, source in content.sources.items():
        of_source = [number for number in NUMBERS if number.source == key]
        for note in source.notes:
            assert any(note.applies(one.method, one.backbone, one.dataset) for one in of_source), note.note


# beside our runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """DML on what is called CIFAR-100, with resnet32 and three seeds, and one on a validation split."""
    filled = Runs(tmp_path)
    for seed, accuracy in enumerate((70.0, 71.0, 72.0)):
        run = filled.add(seed=seed)
        moved = {"dataset": "folder:/somewhere/cifar100", "backbone": "resnet32"}
        filled.put(run.model_copy(update=moved), accuracy)
    return filled


def cells(comparisons: list[published.Comparison], form: str = "csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(FORMATS[form](published.typed_comparison(comparisons)))))


def test_without_runs_every_published_number_is_shown() -> None:
    rows = cells(published.compare(None))
    assert len(rows) == len(published.load())
    for row in rows:
        assert row["source"] in published.content().sources
        assert row["protocol of the source"]
        assert (row["ours"], row["difference"]) == ("", "")


def test_ours_stand_first_with_the_difference(runs: Runs) -> None:
    rows = cells(published.compare(store.load(runs.store.root)))
    ours = [row for row in rows if row["ours"]]
    assert rows[: len(ours)] == ours
    assert {row["source"] for row in ours} == {
        number.source for number in published.find("dml", "cifar100", "resnet32")
    }
    for row in ours:
        assert (row["method"], row["ours"]) == ("dml", "71.00 ± 1.00 (3)")
        number = float(row["published"].split()[0])
        assert float(row["difference"]) == pytest.approx(71 - number, abs=0.006)
        # what our own runs did otherwise than the protocol is said as well
        assert "epochs=20" in row["ours differs"]
        assert "dataset=folder:cifar100" in row["ours differs"]
    assert len(rows) == len(published.load())


def test_validation_scores_are_never_compared(tmp_path: Path) -> None:
    filled = Runs(tmp_path)
    run: RunConfig = filled.add(data={"holdout": 0.25})
    filled.put(run.model_copy(update={"dataset": "cifar100", "backbone": "resnet32"}), 70.0)
    assert not any(row["ours"] for row in cells(published.compare(store.load(tmp_path, split="all"))))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_names_the_source(form: str) -> None:
    text = FORMATS[form](published.typed_comparison(published.compare(None)))
    assert "pcl-paper" in text
    assert "quoted at second hand" in text
    if form == "json":
        assert all(item["source_url"] and item["protocol"] for item in json.loads(text))


def test_the_command_needs_neither_runs_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom benchmark import cli\nsys.argv = ['bench', 'table', '--published']\ncli.main()\n"
        "assert not {'torch', 'ray', 'scipy', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "github.com" in done.stdout
