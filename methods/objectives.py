"""The losses: pure functions, tensors in, scalar out.

Logits may carry leading dimensions (peers); a loss is the mean over the batch, summed over the leading dimensions.
``sg`` below stops the gradient. Whoever wants a target held constant detaches it before the call.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the labels: ``sum_k mean_b -log softmax(z_kb)[y_b]``.

    Args:
        logits: ``[..., B, C]``.
        labels: ``[B]``, class indices.
    """
    classes = logits.shape[-1]
    leading = logits.shape[:-2].numel()
    repeated = labels.expand(leading, -1).reshape(-1)
    return F.cross_entropy(logits.reshape(-1, classes), repeated) * leading


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Tempered Kullback-Leibler divergence from student to teacher: ``T^2 mean_b KL(softmax(t/T) || softmax(s/T))``.

    Args:
        student: Logits ``[..., B, C]``.
        teacher: Logits that broadcast against the student's; their gradient flows unless they are detached.
        temperature: ``T > 0``.

    Source: Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural Network", section 2.
    """
    return _divergence(student, teacher, temperature).mean(-1).sum()


def pairwise_distillation_loss(students: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Each student learns from every teacher but its own: ``sum_i 1/(K-1) sum_{j!=i} KL_T(s_i <- t_j)``.

    Args:
        students: Logits ``[K, B, C]`` with ``K >= 2``.
        teachers: Logits ``[K, B, C]``; teacher ``i`` belongs to student ``i``.
        temperature: ``T > 0``.

    Source: Zhang et al. (2018), "Deep Mutual Learning", equation 8, for the mean over the other peers.
    """
    peers = students.shape[0]
    losses = _divergence(students.unsqueeze(1), teachers.unsqueeze(0), temperature).mean(-1)
    others = 1 - torch.eye(peers, dtype=losses.dtype, device=losses.device)
    return (losses * others).sum() / (peers - 1)


def mean_of_others(logits: Tensor) -> Tensor:
    """For each of K peers, the mean of the other peers' logits: ``[K, B, C] -> [K, B, C]`` with ``K >= 2``."""
    return (logits.sum(0, keepdim=True) - logits) / (logits.shape[0] - 1)


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student_log = F.log_softmax(student / temperature, dim=-1)
    teacher_log = F.log_softmax(teacher / temperature, dim=-1)
    return temperature**2 * (teacher_log.exp() * (teacher_log - student_log)).sum(-1)
