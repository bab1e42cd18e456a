"""Equal cost: epochs in inverse proportion to counted multiply-adds, and the column that such runs share."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from benchmark import datasets, running, store
from benchmark.configuration import EQUAL_EPOCHS, Request, RunConfig, plan
from benchmark.running.command import at_equal_cost
from benchmark.speed.cost import FILE, kind_of, macs_per_image
from benchmark.tables import build
from methods import registry
from methods.errors import InputError
from tests.command_line import SMALL

THREE: dict[str, Any] = {"methods": ["independent", "dml", "pcl"], "dataset": "digits", "seeds": 1, "epochs": 40}


def allowed(**layer: Any) -> list[RunConfig]:
    return at_equal_cost(Request([THREE | layer]))[0]


@cache
def planned(methods: tuple[str, ...] = ("independent", "dml", "pcl"), **budget: Any) -> dict[str, RunConfig]:
    return {run.method: run for run in allowed(methods=list(methods), **budget)}


def epoch_macs(run: RunConfig) -> float:
    shape = datasets.shape(run.dataset, run.data, Path())
    return macs_per_image(run, shape).train * shape.train


class TestPlan:
    def test_totals_are_equal_within_an_epochs_worth(self) -> None:
        found = planned(equal_cost="pcl")
        assert found["pcl"].train.epochs == 40
        total = 40 * epoch_macs(found["pcl"])
        for run in found.values():
            each = epoch_macs(run)
            assert abs(run.train.epochs * each - total) <= each / 2

    @pytest.mark.thorough
    def test_every_method_can_be_counted(self) -> None:
        methods = [name for name in registry.available() if name != "kd"]
        found = planned(tuple(methods), equal_cost="independent")
        assert found.keys() == set(methods)
        assert min(found, key=lambda name: epoch_macs(found[name])) == "independent"

    def test_two_networks_cost_twice_what_one_costs(self) -> None:
        found = planned(equal_cost="dml")
        # separate networks of the same kind: the count is exact
        epoch = epoch_macs(found["independent"])
        assert epoch * 2 == epoch_macs(found["dml"])
        assert [found[method].train.epochs for method in ("independent", "dml")] == [80, 40]
        assert planned(equal_cost="independent", epochs=1)["dml"].train.epochs == 1

    def test_each_kind_of_run_has_a_line_on_what_it_spends(self) -> None:
        runs, (independent, dml, _) = at_equal_cost(Request([THREE | {"seeds": 2, "equal_cost": "dml"}]))
        assert len(runs) == 6
        assert independent.startswith("independent digits resnet8: 80 epochs of")
        assert independent.endswith("(100.0%)")
        assert dml.startswith("dml digits resnet8: 40 epochs of")

    def test_schedules_scale_with_the_length_and_nothing_else_differs(self) -> None:
        plain = {run.method: run for run in plan(Request([THREE]), datasets)}
        for method, run in planned(equal_cost="pcl").items():
            same = {"train": plain[method].train, "budgets": [EQUAL_EPOCHS]}
            scaled = {name for name in run.hyperparameters if name.endswith("_epochs")}
            kept = run.hyperparameters | {name: plain[method].hyperparameters[name] for name in scaled}
            assert run.model_copy(update=same | {"hyperparameters": kept}) == plain[method]
            assert run.train.model_copy(update={"epochs": 40}) == plain[method].train
        run = planned(equal_cost="independent")["pcl"]
        assert run.train.epochs < 40
        assert run.hyperparameters["rampup_epochs"] == max(1, round(80 * run.train.epochs / 300))

    def test_a_run_of_the_same_length_is_the_same_run(self) -> None:
        [plain] = plan(Request([THREE | {"methods": "pcl"}]), datasets)
        run = planned(equal_cost="pcl")["pcl"]
        assert (run.identity, run.budgets, plain.budgets) == (plain.identity, ["equal cost: pcl"], [EQUAL_EPOCHS])

    def test_another_setting_of_the_named_method_does_not_change_the_budget(self) -> None:
        # three branches cost more than two; the plain method's cost is what is given
        runs = allowed(equal_cost="pcl", methods=["pcl"], variants=["pcl: peers=2"])
        by_peers = {run.hyperparameters["peers"]: run.train.epochs for run in runs}
        assert by_peers[3] == 40 < by_peers[2]

    def test_two_names_that_meet_at_another_length_are_one_run(self) -> None:
        # at 40 epochs the ramp-up's default is 11 of them, at the length that the budget gives it is another
        epochs = planned(("pcl",), equal_cost="independent")["pcl"].train.epochs
        default = max(1, round(80 * epochs / 300))
        variants = [f"pcl: rampup_epochs={default}"]
        runs = allowed(equal_cost="independent", methods=["pcl"], variants=variants)
        assert [(run.train.epochs, run.hyperparameters["rampup_epochs"]) for run in runs] == [(epochs, default)]

    def test_a_warm_up_of_whole_epochs_stays_and_one_that_is_a_share_scales(self) -> None:
        for given in (2.0, 0.05):
            runs = allowed(equal_cost="pcl", methods=["independent", "pcl"], train={"warmup_epochs": given})
            assert {run.train.warmup_epochs for run in runs} == {given}
            assert len({run.train.epochs for run in runs}) == 2

    @pytest.mark.parametrize(
        ("layer", "facts"),
        [
            (
                {"equal_cost": "independent", "epochs": 2, "train": {"warmup_epochs": 1.0}},
                ["train.warmup_epochs", "train.epochs"],
            ),
            ({"equal_cost": "pcl", "variants": ["dml: train.epochs=7"]}, ["dml", "train.epochs"]),
            ({"equal_cost": "pcl", "train": {"milestones": [10, 15]}}, ["train.milestones", "shares"]),
            ({"equal_cost": "plc"}, ["'plc'", "'pcl'"]),
            ({"equal_cost": 3}, ["equal_cost", "3"]),
            ({"equal_cost": "pcl", "epochs": 100_000}, ["100,000"]),
        ],
    )
    def test_bad_words_are_answered_in_one_line(self, layer: dict[str, Any], facts: list[str]) -> None:
        with pytest.raises(InputError) as error:
            running.prepare([THREE | layer])
        assert "\n" not in str(error.value)
        assert all(fact in str(error.value) for fact in facts)


def test_a_finished_run_is_claimed_and_not_repeated_and_the_runs_share_a_column(tmp_path: Path) -> None:
    layer = SMALL | {"methods": ["dml"], "dataset": "digits", "seeds": 1, "epochs": 2, "results": str(tmp_path)}
    # one method at the epochs of the recipe, then both at the cost of the one
    for asked in (layer, layer | {"methods": ["independent", "dml"], "equal_cost": "dml"}):
        assert running.carry_out(running.prepare([asked]), Console(quiet=True))
    frame = store.load(tmp_path).groupby("method").last()
    both = {"dml": f"{EQUAL_EPOCHS} | equal cost: dml", "independent": "equal cost: dml"}
    assert frame["budgets"].to_dict() == both
    assert frame["train.epochs"].to_dict() == {"dml": 2, "independent": 4}
    table = build(store.load(tmp_path))
    columns = [f"digits/resnet8, {budget}" for budget in ("equal cost: dml", EQUAL_EPOCHS)]
    assert [heading.column for heading in table.headings] == columns
    assert sorted(table.rows) == ["dml", "independent"]


def test_equal_time_by_measured_seconds(tmp_path: Path) -> None:
    layer = {"methods": ["independent", "dml"], "results": str(tmp_path)}
    # seconds that an earlier command has measured
    measured = {}
    for run in plan(Request([THREE | layer]), datasets):
        shape = datasets.shape(run.dataset, run.data, tmp_path)
        seconds = {"independent": 1.0, "dml": 4.0}[run.method]
        measured[kind_of(run, shape, torch.device("cpu"))] = {"train": seconds, "evaluation": 0.0}
    (tmp_path / FILE).write_text(json.dumps(measured))
    runs, shares = at_equal_cost(Request([THREE | layer | {"equal_cost": "dml", "cost": "time"}]), "cpu")
    independent, dml = sorted(runs, key=lambda run: run.method, reverse=True)
    assert independent.train.epochs == 4 * dml.train.epochs
    assert independent.budgets == ["equal time: dml"]
    assert "seconds" in shares[0]
