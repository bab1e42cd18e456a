"""The plug-ins of docs/more_than_logits.md keep the contract, train, resume, and do what their formulas say."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import methods
from benchmark.checking.check import check, faults
from benchmark.configuration import RunConfig
from benchmark.datasets import load
from benchmark.training import Trainer
from methods import Method, Progress
from tests.plans import digits

DOCUMENT = (Path(__file__).parents[2] / "docs" / "more_than_logits.md").read_text(encoding="utf-8")
SOURCES = {
    re.search(r'name = "(\w+)"', source)[1]: source  # type: ignore[index]
    for source in re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
}


@pytest.fixture
def plugins(tmp_path: Path) -> dict[str, Path]:
    """Each example as the file that the page names."""
    assert [f"`{name}.py`" in DOCUMENT for name in SOURCES] == [True] * 3
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    return {name: tmp_path / f"{name}.py" for name in SOURCES}


def build(name: str, plugins: dict[str, Path], **hyperparameters: Any) -> Method:
    torch.manual_seed(0)
    given = {"backbone": "resnet8", "num_classes": 5, "image_size": 8, "plugins": [plugins[name]]}
    return methods.build(name, **given, **hyperparameters)  # type: ignore[arg-type]


def planned(name: str, plugins: dict[str, Path], results: Path, **train: Any) -> RunConfig:
    few = {"epochs": 2, "data": {"train_per_class": 3, "test_per_class": 3}}
    settings = {"batch_size": 15, "lr": 0.05, **train}
    (run,) = digits(results, name, (str(plugins[name]),), backbone="resnet8", train=settings, **few).runs
    return run


def trainer(run: RunConfig, plugin: Path) -> Trainer:
    return Trainer(run, load(run.dataset, run.data, Path()), torch.device("cpu"), [plugin])


@pytest.mark.thorough
@pytest.mark.parametrize("name", SOURCES)
def test_the_example_keeps_the_contract(name: str, plugins: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # the larger backbones have tests of their own
    monkeypatch.setattr("benchmark.checking.cases.families", tuple)
    assert faults(check(name, [plugins[name]])) == []


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["weighed", "remembering"])
def test_the_examples_outputs_survive_compilation(name: str, plugins: dict[str, Path], tmp_path: Path) -> None:
    plain = trainer(planned(name, plugins, tmp_path), plugins[name])
    compiled = trainer(planned(name, plugins, tmp_path), plugins[name])
    compiled.forward = torch.compile(compiled.method, backend="eager")
    ours, theirs = plain.epoch(), compiled.epoch()
    assert [theirs[key] for key in ours if key.startswith("loss")] == pytest.approx(
        [ours[key] for key in ours if key.startswith("loss")], rel=1e-5
    )


def test_features_are_those_that_the_classifiers_read(plugins: dict[str, Path]) -> None:
    method = build("aligned", plugins, peers=3).train()
    outputs = method(torch.randn(1, 6, 3, 8, 8))
    assert outputs.features is not None
    networks: Any = method.networks
    for network, features, logits in zip(networks, outputs.features, outputs.peers, strict=True):
        torch.testing.assert_close(network.branch.classifier(features), logits)
    terms = method.losses(outputs, torch.arange(6) % 5, Progress(0, 0, 1))
    units = F.normalize(outputs.features, dim=-1)
    expected = sum((units[i] - units.mean(0)).square().sum() / 6 for i in range(3))
    torch.testing.assert_close(terms["alignment"], expected)


def test_features_of_different_sizes_are_refused_in_one_line(plugins: dict[str, Path]) -> None:
    with pytest.raises(methods.errors.InputError, match=r"'aligned' needs peers whose pooled features have one size"):
        methods.build(
            "aligned", backbone="resnet8+wide_resnet20_8", num_classes=5, image_size=8, plugins=[plugins["aligned"]]
        )


def test_a_group_has_its_own_rate_and_schedule(plugins: dict[str, Path], tmp_path: Path) -> None:
    begun = trainer(planned("weighed", plugins, tmp_path), plugins["weighed"])
    rates = []
    for _ in range(2):
        begun.epoch()
        rates.append([group["lr"] for group in begun.optimizer.param_groups])
    # two networks at the run's rate, which drops after half of the run; the third falls from a tenth of it, in a line
    assert rates == [pytest.approx([0.05, 0.05, 0.005]), pytest.approx([0.005, 0.005, 0.0025])]


def test_the_small_network_learns_from_the_ensemble_alone(plugins: dict[str, Path]) -> None:
    method = build("weighed", plugins).train()
    outputs = method(torch.randn(1, 6, 3, 8, 8))
    terms = method.losses(outputs, torch.arange(6) % 5, Progress(0, 0, 1))
    judge = list(method.get_submodule("judge").parameters())
    networks = list(method.get_submodule("networks").parameters())
    from_ensemble = torch.autograd.grad(
        terms.pop("ensemble_cross_entropy"), judge + networks, allow_unused=True, retain_graph=True
    )
    assert [gradient is not None for gradient in from_ensemble] == [True] * len(judge) + [False] * len(networks)
    rest = torch.autograd.grad(torch.stack(list(terms.values())).sum(), judge, allow_unused=True)
    assert rest == (None,) * len(judge)


def test_the_memory_holds_the_images_and_their_share_is_recorded(plugins: dict[str, Path], tmp_path: Path) -> None:
    begun = trainer(planned("remembering", plugins, tmp_path), plugins["remembering"])
    memory: Any = begun.method.memory
    assert memory.shape == (30, 10)
    assert begun.epoch()["method/images_seen"] == 100
    memory = begun.method.memory
    # after one visit: two fifths of a distribution
    torch.testing.assert_close(memory.sum(1), torch.full((30,), 0.4))


def test_settings_of_the_run_reach_a_plugins_groups(plugins: dict[str, Path], tmp_path: Path) -> None:
    run = planned("weighed", plugins, tmp_path, no_decay="norm_and_bias")
    spared = trainer(run, plugins["weighed"])
    decays = [group["weight_decay"] for group in spared.optimizer.param_groups]
    assert decays == [5e-4] * 3 + [0.0] * 3
    assert replace(spared.groups[2].own) == spared.groups[5].own
