"""Which examples hypothesis draws: in ``make test`` always the same ones, in ``make fuzz`` others in every round."""

import os
from collections.abc import Collection

from hypothesis import HealthCheck, settings

DETERMINISTIC = "okdbench"
FUZZ = "fuzz"
EXAMPLES = "OKDBENCH_EXAMPLES"

SLOW = (HealthCheck.too_slow,)
"""How long an example takes says nothing about it where other work shares the machine."""


def fuzz_examples() -> int:
    """How many examples ``make fuzz`` draws where a test asks for no number of its own."""
    return int(os.environ.get(EXAMPLES, "300"))


def register() -> None:
    """Make both profiles known and choose the deterministic one; ``--hypothesis-profile`` may choose the other."""
    settings.register_profile(DETERMINISTIC, deadline=None, database=None, derandomize=True, suppress_health_check=SLOW)
    # the database would add what failed before to what the seed means
    settings.register_profile(
        FUZZ,
        max_examples=fuzz_examples(),
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=SLOW,
    )
    settings.load_profile(DETERMINISTIC)
    _draw_the_same_whatever_is_imported()


def _draw_the_same_whatever_is_imported() -> None:
    """Keep the constants of this repository's modules out of the deterministic profile.

    Hypothesis draws them too, of the modules that are imported so far: a test's examples would depend on the tests that
    ran before it in the same process. It has no setting for that.
    """
    try:
        from hypothesis.internal.conjecture import providers

        collected = providers._get_local_constants
    except (ImportError, AttributeError):
        # older versions draw none
        return
    nothing = type(collected())()

    def constants() -> object:
        return nothing if settings().derandomize else collected()

    vars(providers)["_get_local_constants"] = constants


def examples(number: int, suppress: Collection[HealthCheck] = SLOW) -> settings:
    """A test's own number of examples, of which the profile in use has its multiple."""
    return settings(max_examples=max(1, number * settings().max_examples // 100), suppress_health_check=suppress)
