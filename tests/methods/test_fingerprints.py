"""No method's numbers change under an unchanged version; ``tests/methods/fingerprints.py`` says how to renew them."""

from dataclasses import replace
from typing import Any

import pytest

from methods import backbones
from tests.methods.fingerprints import FAMILIES, MET_BY_ALL, Fingerprint, fault, pairs, read, renewed, taken

STORED = read()


def cases() -> list[Any]:
    """Every pair; what networks beside those that all methods meet compute is for ``make thorough``."""
    marks = {True: (), False: (pytest.mark.thorough,)}
    return [pytest.param(*pair, marks=marks[pair[0] in MET_BY_ALL], id="-".join(pair)) for pair in pairs()]


@pytest.mark.parametrize(("family", "name"), cases())
def test_numbers_are_those_of_the_version(family: str, name: str) -> None:
    assert fault(STORED.get((family, name)), taken(family, name)) == ""


def test_nothing_is_stored_of_what_is_not_there() -> None:
    assert STORED.keys() == set(pairs())


def test_every_family_of_networks_is_covered() -> None:
    factories = {backbones.describe(name).factory for name in backbones.available()}
    named = [getattr(factory, "func", factory) for factory in FAMILIES.values()]
    assert {factory.__name__ for factory in named} == factories


class TestComparison:
    """A fingerprint that never changes would be none."""

    @pytest.fixture(scope="class")
    @classmethod
    def now(cls) -> Fingerprint:
        return taken("resnet", "dml")

    @pytest.mark.parametrize("changed", [{"temperature": 3.001}, {"peers": 3}])
    def test_a_slight_change_of_the_loss_is_seen(self, now: Fingerprint, changed: dict[str, float]) -> None:
        assert not now.same(taken("resnet", "dml", **changed))

    def test_a_slight_change_of_the_weights_is_seen(self, now: Fingerprint) -> None:
        norm, first, second = now.weights
        assert now.same(replace(now, weights=(norm, first, second + 1e-9 * norm)))
        assert not now.same(replace(now, weights=(norm, first, second + 1e-6 * norm)))

    def test_other_numbers_need_another_version(self, now: Fingerprint) -> None:
        other = replace(now, weights=(2 * now.weights[0], *now.weights[1:]))
        assert fault(now, now) == ""
        assert "raise the method's version, then python -m tests.methods.fingerprints" in fault(other, now)
        assert fault(replace(other, version=0), now).startswith(f"version {now.version}, but the stored")
        assert fault(None, now).startswith("no fingerprint is stored")

    def test_renewing_keeps_what_changed_under_one_version(self, now: Fingerprint) -> None:
        other = replace(now, weights=(2 * now.weights[0], *now.weights[1:]))
        nearly = replace(now, weights=(now.weights[0] * (1 + 1e-12), *now.weights[1:]))
        raised = replace(other, version=now.version + 1)
        pair = ("resnet", "dml")
        assert renewed({pair: now}, {pair: other}, everything=False) == ({pair: now}, [pair])
        assert renewed({pair: now}, {pair: other}, everything=True) == ({pair: other}, [])
        assert renewed({pair: now}, {pair: raised}, everything=False) == ({pair: raised}, [])
        assert renewed({pair: now}, {pair: nearly}, everything=False) == ({pair: now}, [])
        assert renewed({("vgg", "dml"): now}, {pair: now}, everything=False) == ({pair: now}, [])
