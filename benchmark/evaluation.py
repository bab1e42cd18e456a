"""How well each predictor of a method does on labelled images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.augmentation import Normalisation, channels_inside
from benchmark.placement import Images
from methods import Method

BATCH_SIZE = 500


@torch.no_grad()
def evaluate(
    method: Method,
    images: Images,
    labels: Tensor,
    normalisation: Normalisation,
    layout: torch.memory_format = torch.contiguous_format,
) -> dict[str, float]:
    """Return the scores of every predictor over all images, each image counting the same.

    Args:
        method: In any mode; it is evaluated in eval mode and left in the mode it had.
        images: ``[N, C, H, W]``, uint8, on the method's device.
        labels: ``[N]``, on the same device.
        normalisation: From pixels to what the networks see.
        layout: The memory layout in which the networks are given images.

    Returns:
        ``top1/<predictor>`` and ``top5/<predictor>`` in percent, ``nll/<predictor>`` in nats.
    """
    training = method.training
    method.eval()
    totals: dict[str, Tensor] = {}
    for start in range(0, len(labels), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        views = normalisation(channels_inside(images[batch])).contiguous(memory_format=layout)
        for name, logits in method.predict(views).items():
            sums = _sums(logits, labels[batch])
            totals[name] = totals[name] + sums if name in totals else sums
    method.train(training)
    # one transfer for all scores: this is the only point of an epoch that waits for the device
    table = torch.stack(list(totals.values())).cpu() / len(labels)
    scores: dict[str, float] = {}
    for name, (top1, top5, nll) in zip(totals, table.tolist(), strict=True):
        scores |= {f"top1/{name}": 100 * top1, f"top5/{name}": 100 * top5, f"nll/{name}": nll}
    return scores


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sums over the batch of: in the first, in the first five, and negative log-likelihood."""
    logits = logits.double()
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    nll = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([ranked[:, 0].sum(), ranked.any(1).sum(), nll])
