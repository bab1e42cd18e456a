"""A sweep's space: how it is written, which configurations it has, and what is refused."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from benchmark.sweeps.space import Space, identity, parse_space
from methods.errors import InputError, unknown

KEYS = ("decay", "decay_rate", "weight", "peers", "ramp")


def known(key: str) -> str:
    if key not in KEYS:
        raise unknown("key", key, KEYS)
    return key


def space(*words: str, content: Any = None) -> Space:
    return parse_space({} if content is None else content, words, known)


CONDITIONAL = (
    "decay=[exp, linear, none]",
    "decay_rate=loguniform(0.01, 1) if decay=exp",
    "weight=uniform(0, 2)",
    "peers=randint(2, 4)",
)


class TestWriting:
    @pytest.mark.parametrize(
        ("word", "domain"),
        [
            ("decay=[exp, none]", (("exp", "none"), "list")),
            ("weight=[0.1, 1e-3, null, true]", ((0.1, 0.001, None, True), "list")),
            ("weight=uniform(0,2)", ((0.0, 2.0), "uniform")),
            ("weight=loguniform(1e-3, 1)", ((0.001, 1.0), "loguniform")),
            ("peers=randint(2,4)", ((2, 4), "randint")),
        ],
    )
    def test_forms(self, word: str, domain: Any) -> None:
        [parameter] = space(word).parameters
        assert (parameter.values, parameter.form) == domain

    @pytest.mark.parametrize("condition", ["decay=exp|linear", "decay=[exp,linear]", "decay=exp|linear and ramp=none"])
    def test_conditions(self, condition: str) -> None:
        found = space("decay=[exp,linear,none]", "ramp=[none,intended]", f"decay_rate=[1] if {condition}")
        assert found.parameters[-1].when["decay"] == ("exp", "linear")
        assert not found.parameters[-1].counts({"decay": "none", "ramp": "none"})

    def test_file_and_word_give_the_same_space(self) -> None:
        content = {"decay_rate": {"values": "loguniform(0.01,1)", "when": {"decay": "exp"}}, "decay": ["exp", "none"]}
        words = ("decay_rate=loguniform(0.01,1) if decay=exp", "decay=[exp,none]")
        assert space(content=content) == space(*words)

    def test_a_word_replaces_the_key_of_the_file(self) -> None:
        [parameter] = space("peers=[3]", content={"peers": [2, 4]}).parameters
        assert (parameter.values, parameter.form) == ((3,), "list")

    def test_keys_that_depend_on_removed_values_are_removed(self) -> None:
        content = {
            "decay": ["exp", "linear", "none"],
            "decay_rate": {"values": [1], "when": {"decay": ["exp", "linear"]}},
        }
        assert space("decay=[none]", content=content).keys == ["decay"]
        restricted = space("decay=[exp,none]", content=content)
        assert restricted.parameters[1].when == {"decay": ("exp",)}

    def test_its_text_is_read_as_the_same_space(self) -> None:
        found = space(*CONDITIONAL)
        assert space(*map(str, found.parameters)) == found

    @pytest.mark.parametrize(
        ("words", "facts"),
        [
            ((), ["--space KEY=VALUES"]),
            (("decay",), ["KEY=VALUES", "'decay'"]),
            (("decay=",), ["KEY=VALUES", "'decay='"]),
            (("decay=exp",), ["'exp'", "uniform(a,b)"]),
            (("decay=choice(exp,none)",), ["'choice'", "loguniform"]),
            (("decay=[]",), ["decay=[]", "empty"]),
            (("decay=[exp",), ["YAML"]),
            (("decai=[exp]",), ["did you mean 'decay'"]),
            (("weight=unifrom(0,1)",), ["did you mean 'uniform'"]),
            (("weight=uniform(1)",), ["two numbers"]),
            (("weight=uniform(1,x)",), ["two numbers"]),
            (("weight=uniform(2,1)",), ["2", "1"]),
            (("weight=uniform(0,.inf)",), ["two numbers"]),
            (("weight=loguniform(0,1)",), ["above 0"]),
            (("peers=randint(1.5,2)",), ["two whole numbers"]),
            (("decay_rate=[1] if decay",), ["KEY=VALUE"]),
            (("decay_rate=[1] if decay=exp",), ["'decay_rate'", "'decay'"]),
            (("decay_rate=[1] if decay=expo", "decay=[exp]"), ["did you mean 'exp'"]),
            (("decay_rate=[1] if weight=1", "weight=uniform(0,2)"), ["'decay_rate'", "'weight'", "list"]),
            (("decay=[1] if ramp=1", "ramp=[1] if decay=1"), ["decay, ramp"]),
        ],
    )
    def test_anything_else_is_refused_on_one_line(self, words: tuple[str, ...], facts: list[str]) -> None:
        with pytest.raises(InputError) as caught:
            space(*words)
        assert [fact for fact in facts if fact not in str(caught.value)] == []
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "content", [[1], {"decay": {"value": [1]}}, {"decay": {"values": [1], "when": 3}}, {1: [2]}, {"decay": 3}]
    )
    def test_so_is_a_file_of_another_form(self, content: Any) -> None:
        with pytest.raises(InputError, match="space"):
            space(content=content)

    @given(st.text(alphabet="decay=[]()_,.0123 ifruxp|'\"{}:-", max_size=40))
    def test_any_word_is_taken_or_refused_on_one_line(self, word: str) -> None:
        try:
            space(word)
        except InputError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - either is right


class TestConfigurations:
    def test_grid_has_every_combination_that_differs_once(self) -> None:
        found = space("decay=[exp,none]", "decay_rate=[0.1,1.0] if decay=exp", "peers=randint(2,3)").grid()
        assert len(found) == 2 * 3 == len({identity(assignment) for assignment in found})
        assert all(("decay_rate" in assignment) == (assignment["decay"] == "exp") for assignment in found)

    def test_grid_needs_lists(self) -> None:
        with pytest.raises(InputError, match=r"weight is uniform\(0, 2\)"):
            space("weight=uniform(0,2)").grid()

    @given(seed=st.integers(0, 99), few=st.integers(1, 9), more=st.integers(0, 9))
    def test_more_random_ones_begin_with_the_same(self, seed: int, few: int, more: int) -> None:
        searched = space(*CONDITIONAL)
        assert searched.random(seed, few + more)[:few] == searched.random(seed, few)

    def test_random_ones_are_within_bounds_and_never_twice(self) -> None:
        searched = space(*CONDITIONAL)
        found = searched.random(0, 200)
        assert len({identity(assignment) for assignment in found}) == 200
        assert all(map(searched.contains, found))
        assert {assignment["peers"] for assignment in found} == {2, 3, 4}
        rates = [assignment["decay_rate"] for assignment in found if "decay_rate" in assignment]
        assert min(rates) < 0.03 < 0.3 < max(rates)
        assert space("decay=[exp,none]").random(0, 20) == space("decay=[exp,none]").random(0, 2)

    def test_what_is_not_of_the_space(self) -> None:
        searched = space(*CONDITIONAL)
        inside = {"decay": "exp", "decay_rate": 0.5, "weight": 1.0, "peers": 2}
        assert searched.contains(inside)
        for changed in ({"decay_rate": 2.0}, {"decay": "step"}, {"peers": 5}, {"other": 1}, {"decay": "none"}):
            assert not searched.contains(inside | changed)
