"""SwitOKD's switch: whether a teacher has got too far ahead of a student, from one batch's logits."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Switches:
    """Of T teachers and S students, each ``[T, S]`` and held constant.

    Attributes:
        gap: ``G = mean_b |p_s - p_t|_1``, in 0..2.
        epsilon: ``exp(-R / (R + S))``.
        threshold: ``delta = S - epsilon R``, where ``S = mean_b |p_s - y|_1`` and ``R = mean_b |p_t - y|_1``.
        expert: Whether the teacher waits for the student: ``G > delta`` and ``R < S``.
    """

    gap: Tensor
    epsilon: Tensor
    threshold: Tensor
    expert: Tensor


@torch.no_grad()
def switches(
    students: Tensor, teachers: Tensor, labels: Tensor, temperature: float, released: bool = False
) -> Switches:
    """Return every teacher's switch against every student, one decision a batch.

    Args:
        students: Logits ``[S, B, C]``.
        teachers: Logits ``[T, B, C]``.
        labels: ``[B]``, class indices.
        temperature: Of the probabilities ``p``, above 0; the released code knows 1 alone.
        released: Whether all thresholds take the first teacher's and the last student's epsilon, as the released code
            for three networks does, instead of their own.

    Source: Qian et al. (2022), "Switchable Online Knowledge Distillation", as released.
    """
    ours, theirs = (torch.softmax(logits / temperature, dim=-1) for logits in (students, teachers))
    truth = F.one_hot(labels, students.shape[-1]).to(ours.dtype)
    gap = (theirs.unsqueeze(1) - ours).abs().sum(-1).mean(-1)
    behind = (ours - truth).abs().sum(-1).mean(-1)
    ahead = (theirs - truth).abs().sum(-1).mean(-1).unsqueeze(1)
    epsilon = torch.exp(-ahead / (ahead + behind))
    if released:
        epsilon = epsilon[:1, -1:].expand_as(gap)
    threshold = behind - epsilon * ahead
    return Switches(gap, epsilon, threshold, (gap > threshold) & (ahead < behind))
