"""Small runs that tests plan: a few digits, in this process."""

from pathlib import Path
from typing import Any

from benchmark import running
from benchmark.configuration import DataConfig, RunConfig
from benchmark.scheduling import Execution
from benchmark.speed.measure import random_runs


def digits(results: Path, methods: str, plugins: tuple[str, ...] = (), **layer: Any) -> running.Command:
    """A command on digits with one seed, if the layer does not say otherwise."""
    usual = {"methods": methods, "dataset": "digits", "seeds": 1, "engine": "serial", "results": str(results)}
    return running.prepare([usual | layer], plugins)


def on_noise(
    method: str,
    data: DataConfig | None = None,
    plugins: tuple[Path, ...] = (),
    hyperparameters: dict[str, Any] | None = None,
    backbone: str = "resnet8",
    **train: Any,
) -> RunConfig:
    """A run on random images, of which the borders are one pixel wide if nothing else is said."""
    given = {method: hyperparameters} if hyperparameters else {}
    (run,) = random_runs(method, backbone, train, given, tuple(map(str, plugins)))
    return run.model_copy(update={"data": data or DataConfig(pad=1)})


def advance(execution: Execution) -> dict[str, Any]:
    """Train one epoch, and return what there was to say: the last ``note``, ``epoch`` and ``ended``."""
    return dict(execution.train(len(execution.rows) + 1))
