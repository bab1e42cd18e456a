"""Contrastive losses among peers: pure functions of embeddings or of their cosines."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bank_cosines(embeddings: Tensor, bank: Tensor, indices: Tensor) -> Tensor:
    """Cosines of every peer's embeddings with every peer's bank rows: ``[K, K, B, 1 + N]``.

    Args:
        embeddings: ``[K, B, D]`` of length 1.
        bank: ``[K, n, D]``, held constant.
        indices: ``[B, 1 + N]``, the bank rows that each image is compared with, the positive one first.

    Returns:
        By the peer of the bank, the peer of the embedding, image and row.
    """
    rows = bank.detach()[:, indices]
    # one product an image: all peers' rows against all peers' embeddings
    return torch.einsum("abnd,kbd->akbn", rows, embeddings)


def bank_contrast(cosines: Tensor, temperature: float, slack: float = 0.0) -> Tensor:
    """Noise-contrastive loss, summed over all ordered pairs of different peers: a scalar.

    With ``s = exp(cosine / temperature)`` and ``r = s / sg s'``, where ``s'`` is the mean of s over all entries of a
    pair, ``L_ab = -1/B sum_b {log r_b0 / (r_b0 + N + c) + sum_{k>=1} log N / (r_bk + N + c)}``. As ``s'`` is held
    constant, the gradient is not that of the value.

    Args:
        cosines: ``[K, K, B, 1 + N]``, the positive first; those of a peer with its own bank are not used.
        temperature: Above 0.
        slack: c, the number of images times the constant that the released code adds to a denominator.

    Source: Yang et al. (2021), "Multi-view Contrastive Learning for Online Knowledge Distillation", as released.
    """
    peers, _, batch, entries = cosines.shape
    negatives = entries - 1
    scaled = cosines / temperature
    mean = torch.logsumexp(scaled.detach().flatten(2), dim=2) - math.log(batch * entries)
    ratios = scaled - mean[:, :, None, None]
    # in logarithms, whose sums are exact where softplus takes its argument for its value
    together = torch.logaddexp(ratios, torch.full_like(ratios, math.log(negatives + slack)))
    positive = together[..., 0] - ratios[..., 0]
    negative = together[..., 1:] - math.log(negatives)
    losses = (positive + negative.sum(-1)).mean(-1)
    others = 1 - torch.eye(peers, dtype=losses.dtype, device=losses.device)
    return (losses * others).sum()


def supervised_contrast(cosines: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss of each anchor with its classmates: the mean over the images that have one.

    ``-mean_{p != b, y_p = y_b} [x_bp / t - log sum_{q != b} exp(x_bq / t)]`` for cosines x; 0 if none has a classmate.

    Args:
        cosines: ``[..., B, B]``, anchors by contrasted images; summed over the leading dimensions.
        labels: ``[B]``, class indices.
        temperature: t, above 0.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    mates = (labels[:, None] == labels) & ~itself
    counts = mates.sum(1)
    scaled = (cosines / temperature).masked_fill(itself, -math.inf)
    normalised = scaled - torch.logsumexp(scaled, dim=-1, keepdim=True)
    each = -torch.where(mates, normalised, 0).sum(-1) / counts.clamp_min(1)
    return (each.sum(-1) / (counts > 0).sum().clamp_min(1)).sum()


def similarity_distillation(
    student: Tensor, teacher: Tensor, contrast_temperature: float, temperature: float
) -> Tensor:
    """Divergence of the distributions over a batch's images, ``T^2 mean_b KL(softmax(y_b / tT) || softmax(x_b / tT))``.

    Args:
        student: Cosines x ``[..., B, B]``; summed over the leading dimensions.
        teacher: Cosines y that broadcast against them, held constant.
        contrast_temperature: t, above 0.
        temperature: T, above 0.
    """
    together = contrast_temperature * temperature
    student_log = F.log_softmax(student / together, dim=-1)
    teacher_log = F.log_softmax(teacher.detach() / together, dim=-1)
    return temperature**2 * (teacher_log.exp() * (teacher_log - student_log)).sum(-1).mean(-1).sum()
