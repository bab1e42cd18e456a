"""Whether runs can be carried out, as far as that can be told before any of them begins."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, Shape, first_difference
from benchmark.training.initialisation import initialise_method, without_values
from benchmark.training.students import named_classes
from methods import Progress, backbones
from methods.errors import InputError
from methods.objectives import soft_labels
from methods.plugins import reason_of


def check_networks(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Raise an InputError for networks that do not take a run's images, or lack stages that the method needs."""
    tried: set[tuple[str, str, Shape]] = set()
    for run in runs:
        shape, parts = shapes[run.dataset], run.backbone.split("+")
        # the catalogue's networks go with every method, and only the images may be too small for them
        brought = any(":" in part or backbones.describe(part, plugins).plugin for part in parts)
        key = (run.method if brought else "", run.backbone, shape)
        if key not in tried and brought:
            with torch.device("meta"):
                initialise_method(run, shape, plugins)
        for part in parts if key not in tried else ():
            backbones.make(part, shape.num_classes, shape.in_channels, shape.image_size, plugins)
        tried.add(key)


def check_labels(runs: Iterable[RunConfig], shapes: Mapping[str, Shape], plugins: Sequence[str | Path] = ()) -> None:
    """Refuse smoothed or mixed labels where a plug-in's losses take class indices alone.

    Its losses are computed once for class indices and once for probabilities, without values where that is possible.
    Arguments and errors are those of :func:`check_networks`.
    """
    tried: set[tuple[object, ...]] = set()
    for run in runs:
        key = (run.method, run.backbone, run.dataset, repr(run.hyperparameters))
        # the methods of this package are tested with both
        if not run.soft_labels or "method" not in run.sources or key in tried:
            continue
        tried.add(key)
        if fault := _refused_probabilities(run, shapes[run.dataset], plugins):
            setting = "data.mix" if run.data.mix != "none" else "train.label_smoothing"
            raise InputError(
                f"{setting}: the losses of {run.method} take no probabilities as labels ({fault}); "
                "methods.objectives has cross_entropy and hard_labels, which do"
            )


def check_files(runs: Iterable[RunConfig], sets: Mapping[str, Dataset]) -> None:
    """Refuse files that hyperparameters name, such as a teacher's weights, if they are of other classes than the data.

    Whether a file of another number of classes is of use, its method says. ``sets`` are the datasets by name.
    """
    for run in runs:
        classes = sets[run.dataset].classes
        for key in run.files:
            path = run.hyperparameters[key]
            named = named_classes(Path(path)) or ()
            if len(named) == len(classes) and (differing := first_difference(named, classes)):
                index, its, given = differing
                order = " (the same names in another order)" if sorted(named) == sorted(classes) else ""
                raise InputError(
                    f"{run.method}.{key} {path}: its class {index} is {its!r}, that of {run.dataset} {given!r}{order}"
                )


def _refused_probabilities(run: RunConfig, shape: Shape, plugins: Sequence[str | Path]) -> str | None:
    """Return how a method fails with labels that are probabilities; None if it does not, or not for that reason."""

    def fault() -> str | None:
        method = initialise_method(run, shape, plugins)
        outputs = method(torch.zeros(method.views, 2, shape.in_channels, shape.image_size, shape.image_size))
        indices = torch.zeros(2, dtype=torch.int64)
        method.losses(outputs, indices, Progress(0, 0, 1))
        try:
            method.losses(outputs, soft_labels(indices, shape.num_classes), Progress(0, 0, 1))
        except Exception as error:
            return reason_of(error)
        return None

    try:
        return without_values(fault)
    except Exception:
        # it fails with class indices too: its run says how
        return None
