"""How often two predictors say the same of an image, and how often they are wrong together."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.int64]
Numbers = NDArray[np.float64]
Measure = Callable[[Classes, Classes, Classes], float]


def agreement(one: Classes, other: Classes, labels: Classes) -> float:
    """Return the images in percent on which two predictors' classes, ``[N]`` each, are the same."""
    return float(100 * (one == other).mean())


def shared_errors(one: Classes, other: Classes, labels: Classes) -> float:
    """Return the images that both get wrong in percent of those ``[N]`` that one at least gets wrong.

    nan where there is no error.
    """
    wrong, too = one != labels, other != labels
    either = (wrong | too).sum()
    return float(100 * (wrong & too).sum() / either) if either else float("nan")


MEASURES: Mapping[str, tuple[Measure, str]] = {
    "agreement": (agreement, "images with the same\npredicted class in %"),
    "errors": (shared_errors, "errors of both\nin % of the errors of either"),
}


def pairwise(measure: Measure, predicted: Mapping[str, Classes], labels: Classes) -> Numbers:
    """Return a symmetric measure ``[P, P]`` of all pairs of P predictors.

    Args:
        measure: Of two predictors.
        predicted: Classes ``[N]`` by predictor.
        labels: ``[N]``.
    """
    every = list(predicted.values())
    return np.array([[measure(one, other, labels) for other in every] for one in every])


def shares(confusion: Classes) -> Numbers:
    """Return a confusion matrix ``[C, C]`` in percent of each row; nan in the row of a class without images."""
    counts = confusion.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * confusion / np.where(counts, counts, np.nan), dtype=np.float64)
