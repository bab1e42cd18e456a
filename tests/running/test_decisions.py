"""How often repeated looks decide wrongly, and how often rightly; what a look keeps, and what it does without."""

from collections.abc import Mapping

import numpy as np
import pytest

from benchmark.running.until_decided import Decision, decided

LOOKS = (5, 10, 15, 20)
BOUND = 0.5


def simulated(
    count: int, difference: float, sd: float = 1.0, methods: int = 1, bound: float = BOUND, seed: int = 0
) -> list[dict[int, Decision]]:
    """What the looks decide in a number of commands, each with methods that truly differ from the baseline by this."""
    draws = np.random.default_rng(seed).normal(difference, sd, (count, methods, 20))
    return [
        decided({method: dict(enumerate(row)) for method, row in enumerate(one)}, LOOKS, 20, bound, methods)
        for one in draws.tolist()
    ]


def share(commands: list[dict[int, Decision]], what: str) -> float:
    """The share of the commands in which some comparison is said to be this."""
    return sum(any(decision.what == what for decision in one.values()) for one in commands) / len(commands)


def test_without_a_difference_at_most_one_in_twenty_comparisons_is_called_different() -> None:
    assert share(simulated(2000, 0), "different") <= 0.05
    # nothing can be the same within so little: all looks are taken, and all of the error is spent
    assert 0.035 < share(simulated(2000, 0, bound=1e-6), "different") <= 0.05


def test_with_several_methods_at_most_one_in_twenty_commands_is_wrong() -> None:
    assert share(simulated(500, 0, methods=4), "different") <= 0.05


@pytest.mark.parametrize("sd", [0.3, 1.0])
def test_at_the_bound_at_most_one_in_twenty_is_called_the_same(sd: float) -> None:
    assert share(simulated(2000, BOUND, sd), "same") <= 0.05
    assert share(simulated(2000, -BOUND, sd, seed=1), "same") <= 0.05


def test_true_differences_and_true_sameness_are_found() -> None:
    # one look at 20 seeds has a power of 98.8 % here; looking four times costs little of it, and saves seeds
    different = simulated(500, BOUND, sd=0.5)
    assert share(different, "different") > 0.94
    assert np.mean([one[0].look if one else 20 for one in different]) < 15
    assert share(simulated(500, 0, sd=0.5), "same") > 0.9


VALUES: Mapping[int, float] = {seed: 3.0 + 0.1 * (-1) ** seed for seed in range(20)}


def test_what_is_decided_stays_and_a_look_more_changes_nothing_before_it() -> None:
    turned = dict(VALUES) | {seed: -9.0 + 0.1 * seed for seed in range(5, 20)}
    first = decided({"a": turned}, [5], 20, BOUND, 1)
    assert first["a"].what == "different"
    assert first["a"].look == 5
    assert first["a"].difference == pytest.approx(3.02)
    assert decided({"a": turned}, LOOKS, 20, BOUND, 1) == first
    # seeds of later looks are not seen
    assert decided({"a": {seed: turned[seed] for seed in range(5)}}, [5], 20, BOUND, 1) == first


def test_what_has_been_found_different_leaves_its_error_to_the_others() -> None:
    """A difference that Bonferroni's fifth of the error misses is found once four others are out of the way."""
    random = np.random.default_rng(8)
    noise = random.normal(0, 1, 20)
    close = dict(enumerate((noise - noise.mean()) / noise.std(ddof=1) + 0.6))
    alone = decided({"close": close}, LOOKS, 20, 1e-6, 5)
    clear = {str(index): {seed: 50 + 0.1 * seed for seed in range(20)} for index in range(4)}
    together = decided({"close": close, **clear}, LOOKS, 20, 1e-6, 5)
    assert alone == {}
    assert set(together) == {"close", *clear}


def test_seeds_that_did_not_finish_are_done_without() -> None:
    lost = {seed: value for seed, value in VALUES.items() if seed not in (1, 3, 11, 12)}
    assert decided({"a": lost}, LOOKS, 20, BOUND, 1)["a"].look == 10
    few = {seed: VALUES[seed] for seed in (0, 7)}
    assert decided({"a": few}, LOOKS, 20, BOUND, 1) == {}


def test_a_look_without_a_new_pair_tests_nothing_again() -> None:
    """With the pairs of the first look alone there is one test, at the first look's level, however often one looks."""
    early = dict(enumerate((0.9, 2.0, 1.2, 2.5, 1.7)))
    assert decided({"a": early}, LOOKS, 20, BOUND, 1) == {}
    # the same five pairs are enough where they are all that was planned
    assert decided({"a": early}, [5], 5, BOUND, 1)["a"].what == "different"


def test_differences_without_spread_decide_nothing() -> None:
    assert decided({"a": dict.fromkeys(range(20), 3.0)}, LOOKS, 20, BOUND, 1) == {}
