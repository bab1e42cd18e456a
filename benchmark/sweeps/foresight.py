"""What a sweep can distinguish with its seeds, said before anything is trained."""

import itertools
import math
from dataclasses import dataclass

import pandas as pd

from benchmark.metrics import HEADLINE
from benchmark.store import Status, load
from benchmark.sweeps.plan import Sweep
from benchmark.tables import MIN_PAIRS, POWER, detectable_difference, differences

ASSUMED = 0.5
"""Points, where nothing stored says more."""


@dataclass(frozen=True)
class Spread:
    """What the standard deviation of paired differences is taken for.

    Attributes:
        sd: In points.
        source: Where it comes from.
    """

    sd: float
    source: str

    def __str__(self) -> str:
        return f"{self.sd:.2f} points ({self.source})"


def expected_spread(sweep: Sweep) -> Spread:
    """Return the standard deviation of paired differences of stored runs on the sweep's data set and backbone.

    Runs with the same settings of training and data are paired by seed, configuration by configuration, and the squared
    deviations of all differences from their means are pooled; those of the sweep's number of epochs are preferred.

    Args:
        sweep: The sweep.

    Returns:
        0.5 points, and that they are assumed, where no two configurations share two seeds.
    """
    store, base = sweep.command.store, sweep.base
    frame = load(store.root, "last", split="all") if store.runs.is_dir() else pd.DataFrame()
    if not frame.empty and HEADLINE in frame:
        mine = (frame["dataset.checksum"] == base.dataset_checksum) & (frame["backbone"] == base.backbone)
        frame = frame[mine & (frame["status"] == Status.FINISHED) & frame[HEADLINE].notna()]
        for rows, epochs in (
            (frame[frame["train.epochs"] == base.train.epochs], "as many epochs"),
            (frame, "any number of epochs"),
        ):
            if sd := _pooled_sd(rows, sweep.space.keys):
                return Spread(sd, f"of {len(rows)} stored runs on {base.dataset} with {base.backbone}, {epochs}")
    return Spread(ASSUMED, "assumed")


def _pooled_sd(frame: pd.DataFrame, searched: list[str]) -> float | None:
    settings = [str(name) for name in frame.columns if str(name).startswith(("train.", "data."))]
    together = [name for name in (*settings, "split", "method.version") if name not in searched]
    own = ["method", *(str(name) for name in frame.columns if str(name).startswith("hyperparameters."))]
    own += [name for name in settings if name in searched]
    squares, degrees = 0.0, 0
    for _, alike in frame.groupby(together, dropna=False, sort=False):
        kinds = [
            {int(seed): float(x) for seed, x in zip(kind["seed"], kind[HEADLINE], strict=True)}
            for _, kind in alike.groupby(own, dropna=False, sort=False)
        ]
        for one, other in itertools.pairwise(kinds):
            if len(found := differences(one, other)) > 1:
                center = math.fsum(found) / len(found)
                squares += math.fsum((x - center) ** 2 for x in found)
                degrees += len(found) - 1
    return math.sqrt(squares / degrees) if degrees and squares else None


def foresight(sweep: Sweep, comparisons: int, spread: Spread) -> str:
    """Return the line that says which difference a sweep can tell with its seeds.

    Args:
        sweep: The sweep.
        comparisons: How many the differences are corrected for, at least 1.
        spread: The standard deviation that is expected.
    """
    n = len(sweep.seeds)
    if n < MIN_PAIRS:
        seeds = "1 seed" if n == 1 else f"{n} seeds"
        return f"with {seeds} no difference can be told from seed noise: an interval takes {MIN_PAIRS} seeds or more"
    points = detectable_difference(n, spread.sd, comparisons)
    corrected = f", corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return (
        f"with {n} seeds a difference of about {points:.2g} points can be told ({POWER:.0%} power{corrected}) if the "
        f"paired standard deviation is {spread}"
    )
