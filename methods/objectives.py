"""The losses and the targets that some of them need: pure functions, tensors in; a loss is a scalar.

Logits may carry leading dimensions (peers); a loss is the mean over the batch, summed over the leading dimensions.
``sg`` below stops the gradient. Whoever wants a target held constant detaches it before the call.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute losses, and what is divided by a small temperature, without autocast and on CUDA without tf32."""
    if not torch.amp.is_autocast_available(device.type):
        # the meta device, where operations are counted alone
        yield
        return
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        before = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32 = cudnn.allow_tf32 = False
        try:
            yield
        finally:
            matmul.allow_tf32, cudnn.allow_tf32 = before


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the labels: ``sum_k mean_b -log softmax(z_kb)[y_b]``.

    For labels that are probabilities ``q``: ``sum_k mean_b -sum_c q_bc log softmax(z_kb)[c]``.

    Args:
        logits: ``[..., B, C]``.
        labels: ``[B]``, class indices, or ``[B, C]``, probabilities (smoothed or mixed labels).
    """
    classes = logits.shape[-1]
    leading = logits.shape[:-2].numel()
    repeated = labels.expand(leading, *labels.shape).flatten(0, 1)
    if labels.dim() == 2:
        repeated = repeated.to(logits.dtype)
    return F.cross_entropy(logits.reshape(-1, classes), repeated) * leading


def soft_labels(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Labels as probabilities, smoothed: ``(1 - s) q + s / C``, ``[B, C]``.

    Args:
        labels: ``[B]``, class indices, or ``[B, C]``, probabilities q.
        classes: C.
        smoothing: s, the share that is spread evenly over all classes, in [0, 1).

    Source: Szegedy et al. (2016), "Rethinking the Inception Architecture for Computer Vision", section 7.
    """
    probabilities = labels if labels.dim() == 2 else F.one_hot(labels, classes).to(torch.get_default_dtype())
    return (1 - smoothing) * probabilities + smoothing / classes


def hard_labels(labels: Tensor) -> Tensor:
    """The class of each label, ``[B]``: an index as it is, of probabilities ``[B, C]`` the largest.

    A smoothed label keeps its class; a mixed one has none, so that whoever needs this refuses mixed labels
    (``Method.mixed_labels``).
    """
    return labels if labels.dim() == 1 else labels.argmax(-1)


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
    losses = divergence_matrix(students, teachers, temperature)
    others = 1 - torch.eye(peers, dtype=losses.dtype, device=losses.device)
    return (losses * others).sum() / (peers - 1)


def divergence_matrix(students: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Every student's divergence from every teacher: ``D_ij = KL_T(s_i <- t_j)``, ``[K, L]``.

    Args:
        students: Logits ``[K, B, C]``.
        teachers: Logits ``[L, B, C]``.
        temperature: ``T > 0``.
    """
    return _divergence(students.unsqueeze(1), teachers.unsqueeze(0), temperature).mean(-1)


def mean_of_others(logits: Tensor) -> Tensor:
    """For each of K peers, the mean of the other peers' logits: ``[K, B, C] -> [K, B, C]`` with ``K >= 2``."""
    return (logits.sum(0, keepdim=True) - logits) / (logits.shape[0] - 1)


def lowest_loss_target(logits: Tensor, labels: Tensor) -> Tensor:
    """KDCL-Naive: each image's logits from the peer of the smallest cross-entropy: ``[K, B, C] -> [B, C]``."""
    peers, batch, classes = logits.shape
    losses = F.cross_entropy(logits.reshape(-1, classes), labels.repeat(peers), reduction="none")
    best = losses.reshape(peers, batch).argmin(0)
    return logits[best, torch.arange(batch, device=logits.device)]


def min_logit_target(logits: Tensor, labels: Tensor) -> Tensor:
    """KDCL-MinLogit: ``z_t[c] = min_k (z_k[c] - z_k[y])``, so 0 for the label: ``[K, B, C] -> [B, C]``."""
    return _less_label(logits, labels).amin(0)


def linear_target(logits: Tensor, labels: Tensor) -> Tensor:
    """KDCL-Linear: the mixture ``sum_k alpha_k z_k`` of the :func:`simplex_weights`: ``[K, B, C] -> [B, C]``."""
    weights = simplex_weights(logits, labels)
    return (weights[:, None, None] * logits).sum(0)


def simplex_weights(logits: Tensor, labels: Tensor, steps: int = 40) -> Tensor:
    """The weights ``alpha >= 0``, ``sum alpha = 1`` that minimise the batch's cross-entropy of ``sum_k alpha_k z_k``.

    A convex problem, solved by exponentiated gradient descent from equal weights: step t divides the odds of the peer
    of the largest derivative, against that of the smallest, by ``exp(2 x 0.8^t)``. For two peers that is a search which
    always closes in, after 40 steps to 0.0013 in ``log(alpha_0/alpha_1)``, which it looks for in -10..10. No value is
    brought to the host.

    Args:
        logits: ``[K, B, C]``.
        labels: ``[B]``, class indices.
        steps: How many to take.

    Returns:
        ``[K]``, in float32 at least.
    """
    # a mixture keeps its cross-entropy when each logit vector is shifted, and shifted ones are better scaled
    shifted = _less_label(logits, labels)
    shifted = shifted.to(torch.promote_types(shifted.dtype, torch.float32))
    scores = shifted.new_zeros(len(shifted))
    smallest = torch.finfo(scores.dtype).tiny
    for step in range(steps):
        weights = torch.softmax(scores, dim=0)
        probabilities = torch.softmax((weights[:, None, None] * shifted).sum(0), dim=-1)
        slopes = (probabilities * shifted).sum(-1).mean(-1)
        above = slopes - slopes.amin()
        scores = scores - 2 * 0.8**step * above / above.amax().clamp_min(smallest)
    return torch.softmax(scores, dim=0)


def error_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """How the peers' errors agree: ``C_ij = mean_b (p_i - t) . (p_j - t)``, ``[K, B, C] -> [K, K]``.

    ``p`` is the softmax of the logits and ``t`` the label's unit vector.
    """
    errors = torch.softmax(logits, dim=-1) - F.one_hot(labels, logits.shape[-1])
    return torch.einsum("kbc,lbc->kl", errors, errors) / len(labels)


def least_error_weights(errors: Tensor, ridge: float = 1e-3) -> Tensor:
    """KDCL-General: ``w = C^-1 1 / (1' C^-1 1)``, the weights of sum 1 that minimise ``w' C w``; some may be negative.

    Args:
        errors: C, ``[K, K]``, as :func:`error_matrix` gives it.
        ridge: Share of C's mean diagonal that is added to its diagonal: peers that err alike make C singular.
    """
    scale = errors.diagonal().mean().clamp_min(torch.finfo(errors.dtype).tiny)
    regular = errors / scale + ridge * torch.eye(len(errors), dtype=errors.dtype, device=errors.device)
    weights: Tensor = torch.linalg.solve_ex(regular, torch.ones_like(errors[0]))[0]
    return weights / weights.sum()


def _less_label(logits: Tensor, labels: Tensor) -> Tensor:
    return logits - logits.gather(-1, labels.expand(logits.shape[:-1]).unsqueeze(-1))


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student_log = F.log_softmax(student / temperature, dim=-1)
    teacher_log = F.log_softmax(teacher / temperature, dim=-1)
    return temperature**2 * (teacher_log.exp() * (teacher_log - student_log)).sum(-1)
