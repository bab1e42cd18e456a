"""How well each predictor of a method does on labelled images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.configuration import RunConfig
from benchmark.datasets import Dataset, Images, image_digests
from benchmark.store import Predictions
from benchmark.training import diagnostics
from benchmark.training.batches import Normalisation, channels_inside
from benchmark.training.diagnostics import PeerSimilarity
from methods import Method
from methods.errors import InputError

BATCH_SIZE = 500

Floats = npt.NDArray[np.float32]
Predict = Callable[[Tensor], Mapping[str, Tensor]]
"""From normalised images ``[B, C, H, W]`` to the logits ``[B, C]`` of every predictor."""


@torch.no_grad()
def evaluate(
    method: Method,
    images: Images,
    labels: Tensor,
    normalisation: Normalisation,
    layout: torch.memory_format = torch.contiguous_format,
    diagnose: bool = False,
    by_class_of: Sequence[str] = (),
) -> dict[str, float]:
    """Return the scores of every predictor, in eval mode, over all uint8 images ``[N, C, H, W]``, labels ``[N]``.

    They are ``top1/<predictor>`` and ``top5/<predictor>`` in percent, ``nll/<predictor>`` in nats; ``gain/ensemble``
    and ``gain/teachers``, what ensemble and teachers (their mean) are better than the peers' mean by, in points. With
    ``diagnose`` those of :mod:`benchmark.training.diagnostics` too, and the mean accuracy of the predictors
    ``by_class_of`` on each class.
    """
    totals: dict[str, Tensor] = {}
    roles = method.roles()
    similarity = PeerSimilarity(method)
    watched: AbstractContextManager[dict[int, Tensor]] = similarity.watching() if diagnose else nullcontext({})
    with evaluating(method), watched as read:
        for batch, predictions in _batches(method.predict, images, len(labels), normalisation, layout):
            sums = {f"/{name}": _sums(logits, labels[batch]) for name, logits in predictions.items()}
            if diagnose:
                sums |= diagnostics.batch_sums(predictions, labels[batch], roles)
                similarity.add(read)
                read.clear()
            totals = {name: totals[name] + value if name in totals else value for name, value in sums.items()}
    totals |= similarity.scores()
    # one transfer for all scores: this is the only point of an epoch that waits for the device
    numbers = iter(torch.cat(list(totals.values())).tolist())
    host = {name: list(islice(numbers, len(value))) for name, value in totals.items()}
    scores: dict[str, float] = {}
    accuracies: dict[str, float] = {}
    for name in [name for name in host if name.startswith("/")]:
        top1, top5, nll = (value / len(labels) for value in host.pop(name))
        accuracies[name.removeprefix("/")] = 100 * top1
        scores |= {f"top1{name}": 100 * top1, f"top5{name}": 100 * top5, f"nll{name}": nll}
    peers, teachers, ensembles = (
        [accuracies[name] for name, own in roles.items() if own == role and name in accuracies]
        for role in ("peer", "teacher", "ensemble")
    )
    for name, own in (("gain/ensemble", ensembles[:1]), ("gain/teachers", teachers)):
        if own and peers:
            scores[name] = sum(own) / len(own) - sum(peers) / len(peers)
    return scores | diagnostics.summary(host, len(labels), by_class_of)


@torch.no_grad()
def predicted(
    predict: Predict,
    images: Images,
    normalisation: Normalisation,
    layout: torch.memory_format = torch.contiguous_format,
) -> dict[str, Floats]:
    """Return the logits ``[N, C]`` of every predictor, in eval mode, on all uint8 images ``[N, C, H, W]``."""
    parts: dict[str, list[Tensor]] = {}
    for _, predictions in _batches(predict, images, images.shape[0], normalisation, layout):
        for name, logits in predictions.items():
            parts.setdefault(name, []).append(logits.float().cpu())
    return {name: torch.cat(logits).numpy() for name, logits in parts.items()}


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """Hold a method in eval mode; it is left in the mode it had."""
    training = method.training
    method.eval()
    try:
        yield
    finally:
        method.train(training)


def _batches(
    predict: Predict, images: Images, count: int, normalisation: Normalisation, layout: torch.memory_format
) -> Iterator[tuple[slice, Mapping[str, Tensor]]]:
    """Yield which images a batch has, and the logits of every predictor for them."""
    for start in range(0, count, BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        yield batch, predict(normalisation(channels_inside(images[batch])).contiguous(memory_format=layout))


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sums over the batch of: in the first, in the first five, and negative log-likelihood."""
    logits = logits.double()
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    nll = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([ranked[:, 0].sum(), ranked.any(1).sum(), nll])


def predictions_of(
    config: RunConfig, dataset: Dataset, logits: Mapping[str, Floats], students: Sequence[str]
) -> Predictions:
    """Return logits ``[N, C]`` on the scored images by predictor with all that is needed to read them.

    Raises an InputError if some logits are not finite.
    """
    if broken := [name for name, values in logits.items() if not np.isfinite(values).all()]:
        raise InputError(f"{config.label}: the outputs of {', '.join(broken)} are not finite")
    return Predictions(
        run=config.identity,
        logits=logits,
        labels=dataset.test.labels,
        images=image_digests(dataset.test),
        classes=tuple(dataset.classes),
        students=tuple(students),
        split=config.split,
    )
