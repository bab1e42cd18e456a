"""What steps of training are taken on: the images of an epoch in their order, augmented, mixed and labelled."""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, on_device
from benchmark.training.augmentation import Augmentation, Draw, Normalisation
from benchmark.training.randomness import axis_seed, generator
from benchmark.training.stepping import StepBatch
from methods.interface import Batch
from methods.objectives import soft_labels

if TYPE_CHECKING:
    from benchmark.training.mixing import Mixing


class Batches:
    """The training images of a run on its device; which batches they make depends on the seed and the epoch alone.

    Attributes:
        labels: ``[N]``, of all training images.
        augmentation: Of their views.
        per_epoch: Batches, and so steps, an epoch.
    """

    def __init__(
        self, config: RunConfig, dataset: Dataset, normalisation: Normalisation, device: torch.device, views: int
    ) -> None:
        """Move the images to the device.

        Args:
            config: Of the run.
            dataset: Whose training images are used.
            normalisation: Of their pixels.
            device: Where steps are taken.
            views: V, views of each image in a batch.
        """
        self._config = config
        self._classes = len(dataset.classes)
        self._views = views
        images, self.labels = on_device(dataset.train, device)
        self.augmentation = Augmentation.of(config.data, images, normalisation)
        self._mixing = _mixing(config, self._classes)
        # counted once: a step asks for it
        self.per_epoch = len(_without_single(torch.arange(len(self.labels)).split(config.train.batch_size)))

    def of_epoch(self, order_axis: str, view_axis: str, epoch: int) -> Iterator[tuple[StepBatch, bool]]:
        """Yield an epoch's batches, each with whether it is the last.

        Args:
            order_axis: Of randomness: the order of the images.
            view_axis: Their augmentation and mixing.
            epoch: 0-based.
        """
        seed, device = self._config.seed, self.labels.device
        draw = self.augmentation.draw(seed, view_axis, epoch, self._views)
        order = torch.randperm(len(self.labels), generator=generator(seed, order_axis, epoch)).to(device)
        parts = _without_single(order.split(self._config.train.batch_size))
        for number, indices in enumerate(parts, start=1):
            mixing_seed = axis_seed(seed, f"{view_axis}-mixing", epoch, number)
            yield self.prepared(indices, draw, mixing_seed), number == len(parts)

    def endless(self, axis: str) -> Iterator[Batch]:
        """Yield batches of one epoch after another, as a method sees them that prepares itself."""
        for epoch in count():
            for batch, _ in self.of_epoch(f"{axis}-order", f"{axis}-augmentation", epoch):
                yield batch.views, batch.given

    def prepared(self, indices: Tensor, draw: Draw, mixing_seed: int) -> StepBatch:
        """Return what a step is taken on.

        Args:
            indices: ``[B]``, places in the training set.
            draw: Of the epoch.
            mixing_seed: Of the batch: how its images are mixed.
        """
        train, labels = self._config.train, self.labels[indices]
        views, targets = self.augmentation.views(indices, draw), None
        if self._mixing:
            views, targets = self._mixing(views, labels, mixing_seed)
        if train.label_smoothing:
            targets = soft_labels(labels if targets is None else targets, self._classes, train.label_smoothing)
        return StepBatch(views if train.channels_last else views.contiguous(), labels, indices, targets)


def _mixing(config: RunConfig, classes: int) -> "Mixing | None":
    if config.data.mix == "none":
        return None
    # torchvision takes seconds to import
    from benchmark.training.mixing import Mixing

    return Mixing(config.data.mix, config.data.mix_alpha, classes)


def _without_single(batches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Join a last batch of one image to the one before it: batch statistics of a single value are not defined."""
    if len(batches) > 1 and len(batches[-1]) == 1:
        return (*batches[:-2], torch.cat(batches[-2:]))
    return batches
