"""The published numbers: spot checks against numbers typed here, and what must hold for all of them."""

from collections import Counter
from importlib.resources import files

import pytest
import yaml

from benchmark.tables import published
from methods.backbones import catalogue

TEXT = files("benchmark.tables").joinpath("published.yaml").read_text(encoding="utf-8")
NUMBERS = published.load()
PAIR = "resnet56_kdclr+resnet20_kdclr"
COHORT = "resnet32_option_a+wrn_28_2_yuki+wrn_28_2_yuki+resnet32_option_a"


def one(source: str, method: str, dataset: str, backbone: str) -> published.PublishedNumber:
    [number] = [number for number in published.find(method, dataset, backbone) if number.source == source]
    return number


@pytest.mark.parametrize(
    ("method", "dataset", "backbone", "accuracy", "std"),
    [
        ("dml", "cifar100", "resnet32", 73.68, 0.14),
        ("cl", "cifar100", "resnet110", 78.83, 0.58),
        ("ffl", "cifar100", "vgg16", 70.87, 0.99),
        ("okddip", "cifar100", "densenet40_12", 71.23, 0.14),
        ("pcl", "cifar100", "wide_resnet20_8", 80.51, 0.49),
        ("one", "cifar10", "resnet32", 94.20, 0.12),
        ("dml", "cifar10", "resnet110", 94.53, 0.25),
        ("pcl", "cifar10", "vgg16", 94.74, 0.02),
        ("kdcl", "cifar10", "densenet40_12", 93.87, 0.08),
        ("cl", "cifar10", "wide_resnet20_8", 94.59, 0.08),
    ],
)
def test_pcl_paper(method: str, dataset: str, backbone: str, accuracy: float, std: float) -> None:
    number = one("pcl-paper", method, dataset, backbone)
    assert (number.accuracy, number.std, number.runs, number.epoch) == (accuracy, std, None, "unknown")


@pytest.mark.parametrize(
    ("dataset", "backbone", "accuracy"),
    [("cifar100", "resnet32", 74.77), ("cifar100", "resnet110", 79.07), ("cifar10", "vgg16", 93.87)],
)
def test_reproduction_of_pcl(dataset: str, backbone: str, accuracy: float) -> None:
    number = one("pclr", "pcl", dataset, backbone)
    assert (number.accuracy, number.std, number.runs, number.epoch) == (accuracy, None, 1, "best")


@pytest.mark.parametrize(
    ("method", "dataset", "backbone", "error", "ensemble_error"),
    [
        ("independent", "cifar100", "resnet32", 28.91, None),
        ("dml", "cifar100", "resnet32", 24.92, 22.97),
        ("cl", "cifar100", "vgg16_1fc", 23.58, 22.96),
        ("one", "cifar100", "densenet40_12", 29.01, 28.67),
        ("okddip", "cifar100", "resnet110", 21.05, 19.40),
        ("mcl_okd", "cifar100", "hcgnet_a1", 18.72, 17.54),
        ("mcl-only", "cifar100", "resnet110", 21.65, None),
        ("mcl_okd", "imagenet", "resnet34_imagenet", 24.64, 23.26),
    ],
)
def test_mcl_is_stated_as_accuracy(
    method: str, dataset: str, backbone: str, error: float, ensemble_error: float | None
) -> None:
    number = one("mcl-okd", method, dataset, backbone)
    assert number.accuracy == pytest.approx(100 - error, abs=1e-9)
    assert number.ensemble == (None if ensemble_error is None else pytest.approx(100 - ensemble_error, abs=1e-9))
    assert "100 - error" in number.protocol


@pytest.mark.parametrize(
    ("method", "backbone", "first", "second"),
    [
        ("independent", PAIR, 72.34, 69.06),
        ("kdcl-mean", PAIR, 74.40, 70.58),
        ("kdcl-mean", "wrn_40_2_kdclr+wrn_16_1", 77.53, 67.73),
        ("kdcl-mean", "resnet32x4_kdclr+shufflenet_v2_kdclr", 80.16, 75.35),
    ],
)
def test_pairs_of_kdclr(method: str, backbone: str, first: float, second: float) -> None:
    numbers = published.find(method, "cifar100", backbone)
    assert [(number.network, number.accuracy) for number in numbers] == list(
        zip(backbone.split("+"), (first, second), strict=True)
    )


@pytest.mark.parametrize(
    ("method", "backbone", "expected"),
    [
        ("independent", "resnet32_option_a", [(71.19, 71.24)]),
        ("kd", "resnet32_option_a", [(72.17, 72.34)]),
        ("dml", "resnet32_option_a+wrn_28_2_yuki", [(72.86, 73.05), (76.49, 76.67)]),
        ("dml", COHORT, [(73.58, 73.60), (77.52, 77.65), (77.29, 77.43), (73.32, 73.36)]),
    ],
)
def test_yuki_has_the_last_and_the_best_epoch(method: str, backbone: str, expected: list[tuple[float, float]]) -> None:
    numbers = published.find(method, "cifar100", backbone)
    assert [(number.accuracy, number.best_epoch) for number in numbers] == expected
    assert {(number.source, number.epoch, number.runs) for number in numbers} == {("yuki", "last", 1)}


@pytest.mark.parametrize(
    ("method", "backbone", "accuracy", "std"),
    [
        ("mcl", "resnet32", 72.96, 0.28),
        ("mcl-branches", "resnet110_mcl", 78.82, 0.14),
        ("independent", "wrn_16_2_mcl", 72.55, 0.24),
    ],
)
def test_mcl_of_2022(method: str, backbone: str, accuracy: float, std: float) -> None:
    number = one("mcl-2022", method, "cifar100", backbone)
    assert (number.accuracy, number.std, number.runs, number.epoch) == (accuracy, std, 3, "best")


@pytest.mark.parametrize(
    ("method", "dataset", "backbone", "expected"),
    [
        ("switokd", "cifar10", "wrn_16_1_switokd+wrn_16_8_switokd", [92.50, 94.76]),
        ("dml", "cifar100", "mobilenet_v2_half_switokd+wrn_16_2_switokd", [66.23, 73.85]),
        ("kdcl", "tinyimagenet", "resnet20_switokd+wrn_16_2_switokd", [53.74, 57.71]),
        ("switokd-2t1s", "cifar100", "mobilenet_switokd+wrn_16_2_switokd+wrn_16_10_switokd", [65.03, 71.73, 77.07]),
    ],
)
def test_networks_of_switokd(method: str, dataset: str, backbone: str, expected: list[float]) -> None:
    numbers = published.find(method, dataset, backbone)
    assert [(number.network, number.accuracy) for number in numbers] == list(
        zip(backbone.split("+"), expected, strict=True)
    )
    assert {number.std is None for number in numbers} == {"2t1s" in method}


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


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{n.source}-{n.method}-{n.dataset}-{n.backbone}-{n.network}")
def test_every_number(number: published.PublishedNumber) -> None:
    source = published.sources()[number.source]
    assert source.url.startswith("https://github.com/")
    assert source.differences
    assert number.protocol == "; ".join(source.differences)
    assert number in published.find(number.method, number.dataset, number.backbone)
    assert number.network in number.backbone.split("+")
    for value in (number.accuracy, number.ensemble, number.best_epoch):
        assert value is None or 0 < value < 100
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
    assert {number.backbone for number in NUMBERS if number.source == "mcl-okd"} & ours == {
        "resnet32",
        "resnet110",
        "densenet40_12",
    }
    assert not {number.backbone for number in NUMBERS if number.source in ("kdclr", "yuki", "switokd")} & ours
    assert {number.backbone for number in NUMBERS if number.source == "mcl-2022"} & ours == {"resnet32"}
    assert {number.source for number in NUMBERS if number.backbone == "vgg16"} == {"pcl-paper", "pclr"}


def test_callers_cannot_change_what_is_loaded() -> None:
    published.load().clear()
    published.sources().clear()
    assert published.load() == NUMBERS
    assert published.sources()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("methods: [dml, cl, one, ffl", "methods: [dlm, cl, one, ffl"),
        ("hcgnet_a1:   ", "hcgnet_a2:   "),
        ("source: yuki", "source: yuky"),
        ("dataset: cifar10\n", "dataset: cifar11\n"),
        ("predictor: the first peer", "predicter: the first peer"),
        ("epoch: last", "epoch: lsat"),
        ("[73.68, 0.14]", "[7368, 0.14]"),
        ("[73.68, 0.14]", "[73.68, 0.14, 0.1]"),
        ("[73.68, 0.14], ", ""),
        ("[73.68, 0.14]", "['73.68', 0.14]"),
        ("cells: [accuracy, best_epoch]", "cells: [best_epoch, accuracy]"),
        ("networks: [1, 2, 1, 2]", "networks: [1, 2, 1, 3]"),
        ("networks: [1, 2, 1, 2]", "networks: [1, 2]"),
        ("vgg13_1fc+vgg8_1fc:", "vgg16+vgg8_1fc:"),
        ("vgg16_1fc: VGG-16", "vgg16: VGG-16"),
        ("backbones: [vgg16]", "backbones: [vgg61]"),
    ],
)
def test_a_typo_is_an_error(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError, match="validation error"):
        published.parse(TEXT.replace(right, wrong, 1))


def test_every_declared_name_is_used() -> None:
    content = yaml.safe_load(TEXT)
    methods = {number.method for number in NUMBERS}
    networks = {number.network for number in NUMBERS}
    assert methods == {*content["methods"]["ours"], *content["methods"]["others"]}
    assert networks == {*content["networks"]["ours"], *content["networks"]["others"]}
