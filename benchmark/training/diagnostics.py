"""Why a method is better or worse: how alike its predictors are, and how well their probabilities are calibrated.

Which predictors are peers, teachers or the ensemble the method declares (:meth:`methods.Method.roles`). The i-th
teacher belongs to the i-th peer; a single one belongs to every peer. What a method does not have is left out.

All of it is computed on softmax probabilities (temperature 1), as means over the images:

- ``ece/<predictor>``: expected calibration error, 15 bins of equal width, in 0..1
- ``worst_class/<predictor>``: accuracy in percent on the class on which it is lowest; of the logits alone
- ``class_top1/<index>``, where asked for: accuracy in percent on each class, mean over the students; likewise
- ``distance/peers``: Euclidean distance between the probabilities of two peers, mean over all pairs
- ``kl/peers``: Kullback-Leibler divergence between two peers in nats, mean over all ordered pairs
- ``disagreement/peers``: images in percent on which two peers' first classes differ, mean over all pairs
- the same with ``/teachers`` among the teachers and ``/teacher-peer`` between teacher and peer, there with
  ``KL(teacher || peer)``

- ``cka/peers``: see :mod:`benchmark.training.similarity`, which reads features instead

Distance and divergence go to 0 where peers become copies of each other: homogenisation. The distance is what OKDDip
calls diversity: Chen et al. (2020), "Online Knowledge Distillation with Diverse Peers", section 4.4.
"""

from collections.abc import Container, Mapping, Sequence
from itertools import permutations
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.metrics import Role

BINS = 15

_HITS, _COUNTS = "hits/", "counts"
_PAIRED = ("distance", "kl", "disagreement")
_Pair = tuple[str, str]


def members(role: Role, roles: Mapping[str, Role], names: Container[str]) -> list[str]:
    """Return the predictors of a role that are among some names, in the method's order."""
    return [name for name, own in roles.items() if own == role and name in names]


def pairs(roles: Mapping[str, Role], names: Container[str]) -> dict[str, list[_Pair]]:
    """Return which predictors are compared, as (reference, other), by what the comparison is called."""
    peers, teachers = members("peer", roles, names), members("teacher", roles, names)
    taught = [(teachers[0], peer) for peer in peers] if len(teachers) == 1 else list(zip(teachers, peers, strict=False))
    compared = {
        "peers": list(permutations(peers, 2)),
        "teachers": list(permutations(teachers, 2)),
        "teacher-peer": taught,
    }
    return {name: found for name, found in compared.items() if found}


def batch_sums(predictions: Mapping[str, Tensor], labels: Tensor, roles: Mapping[str, Role]) -> dict[str, Tensor]:
    """Return the sums over one batch from which :func:`summary` makes the scores; nothing waits for the device.

    Args:
        predictions: Logits ``[B, C]`` by predictor.
        labels: ``[B]``.
        roles: Of the predictors.
    """
    logs = {name: F.log_softmax(logits.double(), dim=1) for name, logits in predictions.items()}
    sums = {f"ece/{name}": calibration_sums(log.exp(), labels) for name, log in logs.items()}
    sums |= _class_sums(predictions, labels)
    for what, compared in pairs(roles, predictions).items():
        each = [_difference(logs[reference], logs[other]) for reference, other in compared]
        sums[what] = torch.stack(each).mean(0)
    return sums


def summary(sums: Mapping[str, Sequence[float]], images: int, by_class_of: Sequence[str] = ()) -> dict[str, float]:
    """Return the scores of all images from the added sums of :func:`batch_sums`, brought to the host.

    Args:
        sums: By name.
        images: N.
        by_class_of: The predictors, usually the students, whose mean accuracy on each class is wanted too.
    """
    scores = _class_scores(sums, by_class_of)
    for name, values in sums.items():
        if name.startswith("ece/"):
            scores[name] = calibration_error(values, images)
        elif name.startswith(_HITS) or name == _COUNTS:
            continue
        else:
            distance, kl, disagreement = (value / images for value in values)
            scores |= dict(zip((f"{kind}/{name}" for kind in _PAIRED), (distance, kl, 100 * disagreement), strict=True))
    return scores


def _class_sums(predictions: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """Return the images ``[C]`` of each class in the batch, and by predictor how many of them it got right."""
    classes = next(iter(predictions.values())).shape[1]
    # a matrix product instead of scattered additions, as below
    member = (labels[:, None] == torch.arange(classes, device=labels.device)).double()
    hits = {f"{_HITS}{name}": (own.argmax(1) == labels).double() @ member for name, own in predictions.items()}
    return {_COUNTS: member.sum(0), **hits}


def _class_scores(sums: Mapping[str, Sequence[float]], by_class_of: Sequence[str]) -> dict[str, float]:
    if _COUNTS not in sums:
        return {}
    counts = sums[_COUNTS]
    there = [index for index, count in enumerate(counts) if count]
    shares = {
        name.removeprefix(_HITS): {index: 100 * hits[index] / counts[index] for index in there}
        for name, hits in sums.items()
        if name.startswith(_HITS)
    }
    scores = {f"worst_class/{name}": min(own.values()) for name, own in shares.items()}
    if by_class_of:
        scores |= {f"class_top1/{index}": fmean(shares[name][index] for name in by_class_of) for index in there}
    return scores


def calibration_sums(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return for every bin of confidence the sum of ``confidence - hit`` over the batch: ``[B, C] -> [16]``.

    The bins are torchmetrics': a confidence on a boundary belongs to the upper bin, and exactly 1 has one of its own.
    """
    confidence, predicted = probabilities.max(1)
    boundaries = torch.linspace(0, 1, BINS + 1, dtype=probabilities.dtype, device=probabilities.device)
    bins = torch.bucketize(confidence, boundaries, right=True) - 1
    # a matrix product instead of scattered additions, whose order and so whose last bits CUDA leaves open
    member = (bins[None] == torch.arange(BINS + 1, device=bins.device)[:, None]).to(probabilities.dtype)
    return member @ (confidence - (predicted == labels).to(probabilities.dtype))


def calibration_error(sums: Sequence[float], images: int) -> float:
    """Return ``sum_b |sum over the bin of (confidence - hit)| / N``, which is the mean gap weighted by bin size."""
    return sum(abs(value) for value in sums) / images


def _difference(reference: Tensor, other: Tensor) -> Tensor:
    """Return the sums over the batch of distance, ``KL(reference || other)`` and disagreement of log probabilities."""
    probabilities, others = reference.exp(), other.exp()
    distance = (probabilities - others).norm(dim=1).sum()
    kl = (probabilities * (reference - other)).sum()
    disagreement = (reference.argmax(1) != other.argmax(1)).sum()
    return torch.stack([distance, kl, disagreement.to(distance.dtype)])
