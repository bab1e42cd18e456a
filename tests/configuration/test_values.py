"""Several settings of a method in one command: how they are written, and which runs they mean."""

import pytest

from benchmark import datasets
from benchmark.configuration import Request, RunAlias, RunConfig, plan
from benchmark.configuration.planning import MethodEntry, parse_variant
from methods.errors import InputError

SMALL = {"dataset": "digits", "seeds": 2, "epochs": 4}


def planned(**layer: object) -> list[RunConfig]:
    return plan(Request([SMALL | layer]), datasets)


class TestForm:
    @pytest.mark.parametrize(
        ("word", "entry"),
        [
            ("dkel: decay=none", MethodEntry("dkel", hyperparameters={"decay": "none"})),
            ("dkel:decay = none,peers=2", MethodEntry("dkel", hyperparameters={"decay": "none", "peers": 2})),
            ("dkel: dkel.decay=none", MethodEntry("dkel", hyperparameters={"decay": "none"})),
            ("dml as dml-slow: train.lr=0.05", MethodEntry("dml", "dml-slow", {"lr": 0.05})),
            ("dml as Two words: train.milestones=[0.5, 0.9], peers=3", MethodEntry(
                "dml", "Two words", {"milestones": [0.5, 0.9]}, {"peers": 3}
            )),
        ],
    )  # fmt: skip
    def test_words(self, word: str, entry: MethodEntry) -> None:
        assert parse_variant(word) == entry

    @pytest.mark.parametrize(
        "word",
        ["dkel", "dkel decay=none", "dkel:", "dkel: decay", ": a=1", "dkel: train.=x", "dkel as a/b: a=1"],
    )
    def test_other_words_are_refused(self, word: str) -> None:
        with pytest.raises(InputError, match=r"--variant takes|'as' takes a name"):
            parse_variant(word)

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("dml: data.pad=2", "all methods of a command see the same images"),
            ("dml as a, b: peers=3", "without commas"),
            ("dml as pcl: peers=3", "'pcl': that is another method's name"),
            ("dml: train.lr_facto=1", "key in 'train' 'lr_facto', did you mean 'lr_factor'?"),
            ("dml: temprature=1", "did you mean 'temperature'?"),
            ("dml: train.lr=-1", "train.lr: Input should be greater than 0"),
        ],
    )
    def test_bad_ones_are_named(self, word: str, message: str) -> None:
        with pytest.raises(InputError) as refused:
            planned(variants=[word])
        assert message in str(refused.value)


class TestRuns:
    def test_settings_of_a_method_in_one_command_share_everything_else(self) -> None:
        runs = planned(variants=["dml as dml-small-lr: train.lr=0.05"])
        assert [(run.seed, run.train.lr) for run in runs] == [(0, 0.1), (1, 0.1), (0, 0.05), (1, 0.05)]
        plain, own = runs[0], runs[2]
        assert plain.uses == []
        assert own.uses == [RunAlias(name="dml-small-lr", train={"lr": 0.1})]
        assert own.label == "dml-small-lr digits resnet8 seed 0"
        assert own.model_copy(update={"train": plain.train, "uses": []}) == plain

    def test_what_a_run_is_called_is_no_part_of_its_identity(self) -> None:
        (own, _), (same, _) = (
            planned(methods=["pcl"], variants=["dml as slow: train.lr=0.05"])[2:],
            planned(methods=["dml"], train={"lr": 0.05}),
        )
        assert own.identity == same.identity
        assert own.uses != same.uses

    def test_two_names_of_the_same_numbers_are_one_run(self) -> None:
        runs = planned(variants=["dml as also: temperature=1.0"], seeds=1)
        assert [run.uses for run in runs] == [[RunAlias(), RunAlias(name="also", chosen={"temperature": 1.0})]]

    def test_a_variant_is_added_to_its_plain_method(self) -> None:
        runs = planned(variants=["dkel: decay=none", "dkel: decay=step"], seeds=1)
        assert {run.method for run in runs} == {"dkel"}
        assert [run.hyperparameters["decay"] for run in runs] == ["exp", "none", "step"]
        runs = planned(variants=["dkel: decay=none"], methods="independent", seeds=1)
        assert [run.method for run in runs] == ["independent", "dkel"]

    def test_defaults_in_epochs_follow_the_length_of_its_own(self) -> None:
        short, long = planned(variants=["pcl as long: train.epochs=300"], seeds=1)
        assert (short.hyperparameters["rampup_epochs"], long.hyperparameters["rampup_epochs"]) == (1, 80)

    def test_uses_join_and_the_plain_one_needs_no_word(self) -> None:
        (run,) = planned(methods=["dml"], seeds=1)
        named = run.also([RunAlias(name="a")])
        assert named.uses == [RunAlias(), RunAlias(name="a")]
        assert named.also([RunAlias(name="a")]) == named
        assert run.also([]) == run
