"""Sequential testing: error spending over several looks at a growing number of seeds, with exact levels for t.

Each look may spend a part of the permitted error, little at first and all of it by the last look. The level that
a look's p value is held against follows from what the looks before it have spent already.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Sides = Literal[1, 2]

MIN_PAIRS = 3
"""Fewer seeds say too little of their spread: a difference is shown without an interval."""

CELLS = 200
"""Of the grid that carries the distribution of t from look to look; the levels are right to four digits with it."""

NODES = 32
"""Of the quadrature over how much of the sum of squares the new seeds bring."""

TABLE = 4001

NOTHING = 1e-12
"""A smaller error than floating point can tell from none: such a look decides nothing."""


def spent(fraction: float, alpha: float, sides: Sides = 2) -> float:
    """Return the error that may have been spent by the time that a share of the planned seeds is there.

    On each side, with ``a = alpha / sides``: ``2 - 2 Phi(z(1 - a / 2) / sqrt(fraction))``, which follows the boundaries
    of O'Brien and Fleming.

    Source: Lan & DeMets (1983), "Discrete Sequential Boundaries for Clinical Trials", Biometrika 70; O'Brien & Fleming
    (1979), "A Multiple Testing Procedure for Clinical Trials", Biometrics 35.

    Args:
        fraction: Above 0, at most 1.
        alpha: The error of all looks together.
        sides: 2 for a difference in either direction, 1 for a one-sided test.
    """
    from scipy.special import ndtr, ndtri

    return float(sides * 2 * ndtr(ndtri(alpha / sides / 2) / math.sqrt(fraction)))


def level(counts: Sequence[int], planned: int, alpha: float, sides: Sides = 2, final: bool = False) -> float:
    """Return what the p value of the t-test must fall below at a look, so that all looks together err by alpha.

    It is exact for t, not for its normal limit (which would let 5.2 % through at 5, 10, 15 and 20 seeds). With
    ``r = sum(x) / sqrt(sum(x^2))`` of n differences whose true mean is 0, t is a growing function of r, and the sum of
    squares says nothing of r. A look with m further seeds, whose own ratio is s and whose share of the sum of squares
    is b, has ``r' = r sqrt(1 - b) + s sqrt(b)``, where b has the Beta(m / 2, n / 2) distribution and s that of r with m
    for n; both are independent of all that was seen before. So the distribution of r among what has not been decided
    is carried from look to look on a grid, as Armitage, McPherson & Rowe (1969), "Repeated Significance Tests on
    Accumulating Data", do for the normal distribution.

    Args:
        counts: Seeds at each look so far, growing, at least :data:`MIN_PAIRS`.
        planned: Seeds at the last look that there can be: all of the error may be spent by then.
        alpha: The error of all looks together.
        sides: 2 for p values of a difference in either direction, 1 for one-sided ones.
        final: Whether there can be no further look, so that all of the error may be spent though fewer seeds than
            planned have come.

    Raises:
        ValueError: If the counts do not grow, begin too low, or end above what is planned.
    """
    if not counts or counts[0] < MIN_PAIRS or counts[-1] > planned:
        raise ValueError(f"looks must be between {MIN_PAIRS} and {planned} seeds (given: {counts})")
    if any(later <= earlier for earlier, later in itertools.pairwise(counts)):
        raise ValueError(f"looks must grow (given: {counts})")
    return _level(tuple(counts), planned, alpha, sides, final)


@cache
def _level(counts: tuple[int, ...], planned: int, alpha: float, sides: Sides, final: bool) -> float:
    from scipy.special import stdtr

    errors = [spent(count / planned, alpha, sides) for count in counts]
    errors[-1] = alpha if final else errors[-1]
    r, n = _boundary(counts, tuple(errors), sides), counts[-1]
    return float(sides * stdtr(n - 1, -r * math.sqrt((n - 1) / (n - r**2))))


@cache
def _boundary(counts: tuple[int, ...], errors: tuple[float, ...], sides: Sides) -> float:
    """Return the ratio from which on the last of the looks decides, given the error spent by each look."""
    import numpy as np
    from scipy.optimize import brentq

    below = _below(counts, errors, sides)
    undecided, end = 1 - (errors[-2] if len(errors) > 1 else 0.0), math.sqrt(counts[-1])
    aim = (errors[-1] - (1 - undecided)) / sides
    if aim < NOTHING:
        return end * (1 - 1e-9)
    return float(brentq(lambda r: undecided - float(below(np.array([r]))[0]) - aim, -end, end, xtol=1e-12))


def _below(counts: tuple[int, ...], errors: tuple[float, ...], sides: Sides) -> "Callable[[Array], Array]":
    """Return the probability that nothing was decided before the last of the looks and its ratio is below a value."""
    return _ratio(counts[0]) if len(counts) == 1 else _moved(counts, *_undecided(counts[:-1], errors[:-1], sides))


@cache
def _undecided(counts: tuple[int, ...], errors: tuple[float, ...], sides: Sides) -> "tuple[Array, Array]":
    """Return the probabilities of the ratio's cells where no look has decided, and the cells' middles."""
    import numpy as np

    boundary = _boundary(counts, errors, sides)
    edges = np.linspace(-boundary if sides == 2 else -math.sqrt(counts[-1]), boundary, CELLS + 1)
    mass = np.diff(_below(counts, errors, sides)(edges))
    # what the grid loses would otherwise be spent by the next look
    return mass * ((1 - errors[-1]) / mass.sum()), (edges[1:] + edges[:-1]) / 2


def _ratio(count: int) -> "Callable[[Array], Array]":
    """Return the distribution function of ``sum(x) / sqrt(sum(x^2))`` of that many standard normal numbers."""
    import numpy as np
    from scipy.stats import t

    def below(r: "Array") -> "Array":
        if count == 1:
            return np.where(r < -1, 0.0, np.where(r < 1, 0.5, 1.0))
        with np.errstate(divide="ignore"):
            values = r * np.sqrt((count - 1) / np.maximum(count - r**2, 0))
        return np.asarray(t.cdf(values, count - 1))

    return below


def _moved(counts: tuple[int, ...], mass: "Array", middles: "Array") -> "Callable[[Array], Array]":
    """Return the distribution function of the ratio at the last look, of what was undecided at the one before."""
    import numpy as np
    from scipy.stats import beta

    before, new = counts[-2], counts[-1] - counts[-2]
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    share = beta.ppf((1 + nodes) / 2, new / 2, before / 2)
    weights = weights / 2
    # a table, as the function is asked for a million values
    places = np.linspace(-math.sqrt(new), math.sqrt(new), TABLE)
    table: Any = _ratio(new)(places)

    def below(r: "Array") -> "Array":
        ratios = (r[:, None, None] - middles[None, :, None] * np.sqrt(1 - share)) / np.sqrt(share)
        chances = np.interp(ratios, places, table, left=0, right=1) @ weights
        return np.asarray(chances @ mass)

    return below
