"""Ramps and decays as a configuration has them: plotted as the losses have them, and inactive terms are remarked on."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import methods
from benchmark.configuration import recipes
from methods import registry
from methods.interface import Progress
from methods.mean_teacher import ema_remarks, longest_decay
from methods.schedules import Schedule, inactive_terms, schedule_remarks
from tests.command_line import Bench

EPOCHS = 12
DEFAULTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in methods.available() if name != "kd"]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("dkel", {"ramp": "released", "rampup_epochs": 5}),
    ("dkel", {"ramped_ensemble": True, "decay_rate": 0.5}),
    *(("dkel", {"ramp": "none", "decay": decay}) for decay in ("linear", "cosine", "step", "constant", "none")),
    ("pcl", {"ramp": "released"}),
]


def chosen(name: str, given: dict[str, Any], epochs: int) -> Any:
    return registry.load(name).Hyperparameters.resolve(given, epochs, owner=name)


def drawn(name: str, given: dict[str, Any], epochs: int) -> dict[str, Schedule]:
    schedules: dict[str, Schedule] = chosen(name, given, epochs).schedules(epochs)
    return schedules


@pytest.mark.parametrize(("name", "given"), [*DEFAULTS, *VARIANTS])
def test_what_the_schedules_say_is_what_the_losses_do(name: str, given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    resolved = chosen(name, given, EPOCHS).model_dump()
    method = methods.build(name, backbone="resnet8", num_classes=5, in_channels=1, image_size=8, **resolved).double()
    schedules = drawn(name, given, EPOCHS)
    labels = torch.arange(10) % 5
    with torch.no_grad():
        outputs = method(torch.randn(method.views, 10, 1, 8, 8, dtype=torch.float64))
        terms = [method.losses(outputs, labels, Progress(epoch, epoch, EPOCHS)) for epoch in range(EPOCHS)]
    assert set(schedules) <= set(terms[0])
    for term in terms[0]:
        values = [float(losses[term]) for losses in terms]
        weights = schedules[term].values if term in schedules else [1.0] * EPOCHS
        acting = [value / weight for value, weight in zip(values, weights, strict=True) if weight > 1e-9]
        unweighted = max(acting, default=0.0)
        assert values == pytest.approx([weight * unweighted for weight in weights], rel=1e-9, abs=1e-12)


class TestRemarks:
    def test_released_decaying_ensemble_is_inactive(self) -> None:
        [line] = schedule_remarks(drawn("dkel", {"ramp": "released", "decay_rate": 0.5}, 300))
        for fact in ("teacher_ensemble_distillation", "epochs 0-299", "1 %", "0.67 % in epoch 0", "epochs 81-299"):
            assert fact in line

    def test_under_the_intended_ramp_it_is_inactive_too(self) -> None:
        schedules = drawn("dkel", {"ramped_ensemble": True, "decay_rate": 0.5}, 300)
        assert inactive_terms(schedules) == ["teacher_ensemble_distillation"]
        assert max(schedules["teacher_ensemble_distillation"].product) == pytest.approx(0.0067, abs=1e-4)

    @pytest.mark.parametrize(
        ("name", "given", "epochs"),
        [
            *(("dkel", {}, 300), ("one", {}, 300), ("dml", {}, 300), ("pcl", {"ramp": "released"}, 300)),
            *(("dkel", {key: "none"}, 300) for key in ("ramp", "decay")),
            ("dkel", {"decay": "constant"}, 300),
            ("dkel", {"ramped_ensemble": True, "decay": "linear"}, 300),
            ("dkel", {"weight": 0.0, "ramp": "released"}, 300),
            ("dkel", {"ramped_ensemble": True, "decay_rate": 0.5}, 20),
        ],
    )
    def test_what_acts_or_is_switched_off_is_not_remarked(self, name: str, given: dict[str, Any], epochs: int) -> None:
        assert schedule_remarks(drawn(name, given, epochs)) == []

    def test_without_any_active_distillation(self) -> None:
        [line] = chosen("one", {"rampup_epochs": 100_000}, 300).remarks(300, 30_000)
        assert "distillation" in line

    def test_epochs_are_named_in_spans(self) -> None:
        inactive = Schedule(2.0, {"ramp-up": [0.001] * 6})
        active = Schedule(1.0, {"ramp-up": [0.0, 1.0, 1.0, 0.0, 1.0, 0.0]})
        [line] = schedule_remarks({"a": inactive, "b": active})
        for fact in ("epochs 0-5", "weight 2", "0.10 % in epoch 0", "epochs 1-2, 4"):
            assert fact in line


def recipes_with_methods() -> list[tuple[str, str]]:
    """Every recipe and sweep with each method that it names or sets something of."""
    found = []
    for recipe in recipes.available():
        content = recipes.read(recipes.find(recipe))
        named = content.get("methods", content.get("method", []))
        own = set(methods.available()) & set(content)
        found += [(recipe, name) for name in sorted({*([named] if isinstance(named, str) else named), *own})]
    return found


class TestNoInactiveTerm:
    """What a method describes acts at its defaults, whatever the length of the run, unless it says why it does not."""

    @pytest.mark.parametrize("epochs", [30, 100, 300])
    @pytest.mark.parametrize("name", [name for name, _ in DEFAULTS])
    def test_of_any_method_at_its_defaults(self, name: str, epochs: int) -> None:
        values = chosen(name, {}, epochs)
        assert set(inactive_terms(values.schedules(epochs))) <= set(values.declared_inactive())

    @pytest.mark.parametrize(("recipe", "name"), recipes_with_methods())
    def test_of_any_recipe(self, recipe: str, name: str) -> None:
        content = recipes.read(recipes.find(recipe))
        length = content.get("train", {}).get("epochs", 300)
        if name == "kd":
            return
        for epochs in {length, 300}:
            values = chosen(name, content.get(name, {}), epochs)
            assert set(inactive_terms(values.schedules(epochs))) <= set(values.declared_inactive())

    def test_fails_for_the_released_ramp_without_its_declaration(self) -> None:
        values = chosen("dkel", {"ramp": "released"}, 300)
        inactive = inactive_terms(values.schedules(300))
        assert inactive == ["teacher_ensemble_distillation"]
        assert set(values.declared_inactive()) == set(inactive)

    @pytest.mark.parametrize("name", [name for name, _ in DEFAULTS])
    def test_every_term_has_a_gradient(self, name: str) -> None:
        """In some epoch; a term that moves no weight is inactive however large its value."""
        torch.manual_seed(0)
        method = methods.build(name, backbone="resnet8", num_classes=5, in_channels=1, image_size=8).double()
        labels = torch.arange(10) % 5
        method.labels(labels)
        views = torch.randn(method.views, 10, 1, 8, 8, dtype=torch.float64)
        method.begin_step(torch.arange(10), labels)
        moved: dict[str, bool] = {}
        for epoch in (0, 299):
            for term, loss in method.losses(method(views), labels, Progress(epoch, 10 * epoch, 300)).items():
                weights = [weight for weight in method.parameters() if weight.requires_grad]
                if not loss.requires_grad:
                    moved.setdefault(term, False)
                    continue
                given = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
                moved[term] = moved.get(term, False) or any(bool(gradient.abs().max() > 1e-9) for gradient in given)
        inactive = {term for term, acts in moved.items() if not acts}
        assert inactive <= set(method.hyperparameters.declared_inactive())


class TestCommand:
    def test_figure_table_and_warning(self, tmp_path: Path, bench: Bench) -> None:
        answer = bench("schedules", "--method", "dkel", "--set", "dkel.ramp=released", "--out", tmp_path)
        assert answer.code == 0
        assert "note: dkel: teacher_ensemble_distillation" in answer.out
        assert "0 of 300" in answer.out
        assert (tmp_path / "dkel.svg").read_text().startswith("<?xml")
        assert (tmp_path / "dkel.png").stat().st_size > 10_000
        curves = pd.read_csv(tmp_path / "dkel.csv")
        assert len(curves) == 3 * 300
        assert curves["weight"].max() == pytest.approx(0.1)

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ("--method dkle", "did you mean 'dkel'"),
            ("--method dml", "'dml' has no schedules"),
            ("--method dkel --set dkel.rampp=none", "did you mean 'ramp'"),
            ("--method dkel --set pcl.ramp=none", "--set pcl"),
            ("--method dkel --epochs 0", "train.epochs"),
        ],
    )
    def test_bad_words(self, words: str, reason: str, bench: Bench) -> None:
        bench("schedules", *words.split()).assert_refused(reason)

    def test_a_recipe_sets_length_and_values(self, bench: Bench) -> None:
        answer = bench("schedules", "--method", "one", "--config", "digits", "--out", "here")
        assert answer.code == 0
        assert "of 20 " in answer.out


@pytest.mark.parametrize("steps", [2, 9, 10, 11, 481, 5000])
def test_an_advised_ema_decay_that_is_followed_is_not_advised_again(steps: int) -> None:
    assert ema_remarks(0.9999, steps)
    assert ema_remarks(longest_decay(steps), steps) == []
