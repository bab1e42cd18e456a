"""What ``bench speed`` prints."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmark.configuration import DataConfig, Request, RunConfig, TrainConfig, complete_methods
from benchmark.datasets import Shape
from benchmark.speed.measure import Rate, Speed, measure, measure_baseline
from benchmark.words import duration
from methods import backbones, registry
from methods.errors import InputError
from methods.hyperparameters import validated

TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000


def runs(
    methods: str | None,
    backbone: str,
    train: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
    plugins: Sequence[str] = (),
) -> list[RunConfig]:
    """Return the runs to measure, one a method.

    Args:
        methods: Names separated by commas; None for all that need nothing else.
        backbone: One name, or several joined by ``+``.
        train: Settings of training.
        sections: Hyperparameters by method.
        plugins: Python files that define further methods.

    Raises:
        InputError: For anything unknown or out of range.
    """
    names = [name.strip() for name in methods.split(",")] if methods else complete_methods(Request([sections], plugins))
    architectures = backbone.split("+")
    for architecture in architectures:
        backbones.describe(architecture, plugins)
    if unused := set(sections) - set(names):
        raise InputError(f"--set {min(unused)}: not among the methods that are measured ({', '.join(names)})")
    config = validated(TrainConfig, train, "train")
    found = []
    for name in names:
        method = registry.load(name, plugins)
        chosen = registry.resolve(method, sections.get(name, {}), architectures, config.epochs)
        found.append(
            RunConfig(
                method=name,
                dataset="random",
                backbone=backbone,
                seed=0,
                train=config,
                data=DataConfig(),
                hyperparameters=chosen.model_dump(mode="json"),
                method_version=method.version,
                dataset_checksum="",
            )
        )
    return found


def shape(num_classes: int, image_size: int) -> Shape:
    """Return the shape of colour images, as many as CIFAR has.

    Raises:
        InputError: For a number that is too small or too large.
    """
    if not (2 <= num_classes <= 100_000 and 1 <= image_size <= 1024):
        raise InputError("num-classes must lie in 2..100000 and image-size in 1..1024")
    return Shape(TRAIN_IMAGES, TEST_IMAGES, num_classes, 3, image_size)


def lines(
    chosen: Sequence[RunConfig],
    images: Shape,
    device: str,
    repetitions: int,
    as_json: bool,
    plugins: Sequence[str] = (),
) -> Iterator[str]:
    """Measure the runs one by one; yield the text of each as it is known, or all of them as one JSON text."""
    measured = []
    for run in chosen:
        found = measure(run, images, device, repetitions, plugins)
        measured.append(found)
        if not as_json:
            yield _text(found)
    if as_json:
        content = [asdict(found) for found in measured]
        yield json.dumps(content[0] if len(content) == 1 else content, indent=2)


def _text(found: Speed) -> str:
    def rate(value: Rate) -> str:
        return f"{value.median:,.0f} ({value.low:,.0f} to {value.high:,.0f})"

    return "\n".join(
        [
            f"{found.method} {found.backbone}: {found.device}, {found.precision}, {found.threads} threads, "
            f"batch {found.batch_size}, {found.views} view(s), {found.repetitions} repetitions",
            f"  training      {rate(found.train_images_per_s)} images/s, {found.gflop_per_image:.3f} GFLOP each",
            f"  augmentation  {rate(found.augmentation_images_per_s)} images/s",
            f"  evaluation    {rate(found.evaluation_images_per_s)} images/s",
            f"  matrix rate   {rate(found.matmul_gflop_per_s)} GFLOP/s; "
            f"training reaches {found.fraction_of_matmul_rate:.2f} of it",
            f"  peak memory   {found.peak_memory_mib:,.0f} MiB",
            f"  one run of {found.epochs} epochs of {TRAIN_IMAGES:,} images: {duration(found.recipe_seconds)}",
        ]
    )


def baseline(repetitions: int, as_json: bool) -> str:
    """Measure the augmentation beside torchvision's and return the text."""
    found = measure_baseline(repetitions=repetitions)
    if as_json:
        return json.dumps(asdict(found), indent=2)
    return (
        f"augmentation of {found.views} views on one CPU thread, images/s: "
        f"ours {found.ours_images_per_s.median:,.0f}, torchvision image by image "
        f"{found.torchvision_images_per_s.median:,.0f}: {found.ratio:.1f} times as fast"
    )
