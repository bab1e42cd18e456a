"""Runs that were stored before a setting came into being are still found: identities as they were."""

import json
import tarfile
from pathlib import Path

import pytest
import yaml

import methods
from benchmark import datasets
from benchmark.configuration import Layer, Request, plan, recipes
from benchmark.configuration.run_config import RunConfig
from methods import registry

ROOT = Path(__file__).parents[2]
DKEL_BEFORE = {"ramped_ensemble": True, "decay_rate": 0.5}
"""What DKEL's default was in version 1."""

DIGITS = {
    "independent": "362cccffb61d",
    "cl": "ee880c7dda72",
    "dml": "e46196b1a797",
    "one": "d45168b9580a",
    "ffl": "768968432f8c",
    "kdcl": "7d0740c88592",
    "okddip": "d8fbff6c6971",
    "pcl": "151be02199f3",
    "dkel": "ce8627d9c7b9",
}
MUCH_SET: Layer = {
    "dataset": "digits",
    "methods": ["dkel"],
    "seeds": "3,",
    "dkel": {"ramp": "none", "decay_rate": 0.5},
    "train": {"lr": 0.05, "milestones": [0.4]},
    "data": {"holdout": 0.2, "pad": 2},
}


def planned(layer: Layer) -> list[RunConfig]:
    return plan(Request([layer], data_root=Path("nowhere")), datasets)


@pytest.mark.parametrize("method", DIGITS)
def test_default_runs_on_digits(method: str) -> None:
    own: Layer = {"dkel": DKEL_BEFORE} if method == "dkel" else {}
    [run] = planned({"dataset": "digits", "methods": [method], "seeds": 1, **own})
    assert run.identity == DIGITS[method]


@pytest.mark.parametrize(
    ("layer", "identities"),
    [
        (recipes.read(recipes.find("dkel_ramped")) | {"dataset": "digits", "seeds": 1}, [DIGITS["dkel"]]),
        ({"dataset": "cifar100", "methods": ["dml", "pcl"], "seeds": 1}, ["788094c3c821", "32cdf737366b"]),
        (MUCH_SET, ["b20b963e4fbc"]),
    ],
)
def test_recipes_and_changed_settings(layer: Layer, identities: list[str]) -> None:
    assert [run.identity for run in planned(layer)] == identities


@pytest.mark.parametrize(
    ("section", "key", "default", "other"),
    [
        ("train", "schedule", "step", "cosine"),
        ("train", "warmup_epochs", 0.0, 2.0),
        ("train", "no_decay", "none", "norm_and_bias"),
        ("train", "graph", False, True),
        ("data", "padding", "black", "mean"),
        ("train", "optimizer", "sgd", "adamw"),
        ("train", "label_smoothing", 0.0, 0.1),
        ("data", "augment", "standard", "trivialaugment"),
        ("data", "erase", 0.0, 0.25),
        ("data", "crop", "padded", "resized"),
        ("data", "mix", "none", "mixup"),
    ],
)
def test_an_added_setting_counts_unless_it_is_the_defa(section: str, key: str, default: object, other: object) -> None:
    [plain] = planned(MUCH_SET)
    [same, changed] = (
        planned({**MUCH_SET, section: {**MUCH_SET[section], key: value}})[0] for value in (default, other)
    )
    assert same.identity == plain.identity != changed.identity


@pytest.mark.parametrize(("key", "value"), [("diagnostics_every", 3), ("class_accuracy", True)])
def test_settings_that_only_add_metrics_never_count(key: str, value: object) -> None:
    [plain] = planned(MUCH_SET)
    [watched] = planned({**MUCH_SET, "train": {**MUCH_SET["train"], key: value}})
    assert getattr(watched.train, key) == value
    assert watched.identity == plain.identity


@pytest.mark.parametrize("bundle", sorted(ROOT.glob("results/**/runs.tar.gz")), ids=lambda path: path.parent.name)
def test_stored_runs_are_found_under_what_means_them_today(bundle: Path) -> None:
    """Reading a stored configuration's hyperparameters and planning them again gives the stored form and version."""
    seen = set()
    with tarfile.open(bundle) as packed:
        for member in packed.getmembers():
            if not member.name.endswith("/config.yaml"):
                continue
            stored = yaml.load(packed.extractfile(member), yaml.CSafeLoader)  # type: ignore[arg-type]
            key = (stored["method"], json.dumps(stored["hyperparameters"]), stored["train"]["epochs"])
            if key in seen or stored["method"] == "kd":
                continue
            seen.add(key)
            method = registry.load(stored["method"])
            values = methods.restored(stored["method"], stored["hyperparameters"])
            meant = registry.resolve(method, values, stored["backbone"].split("+"), stored["train"]["epochs"])
            assert meant.stored() == stored["hyperparameters"]
            assert meant.stored_version(method.version) == stored["method_version"]
    assert seen
