"""How much each term of a method's loss pulls at the weights."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


def gradient_norms(terms: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> dict[str, float]:
    """Return the Euclidean norm of each term's gradient over all parameters; 0 for a term that reaches none.

    Args:
        terms: Scalars with their graph, which is kept.
        parameters: What is trained.
    """
    norms = []
    for term in terms.values():
        found: Sequence[Tensor | None] = (
            torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            if term.requires_grad
            else [None]
        )
        squares = [gradient.double().square().sum() for gradient in found if gradient is not None]
        norms.append(torch.stack(squares).sum().sqrt() if squares else torch.zeros((), device=term.device).double())
    return dict(zip(terms, torch.stack(norms).tolist(), strict=True))


def gradient_scores(norms: Mapping[str, float]) -> dict[str, float]:
    """Return ``gradient/<term>``, the norms, and ``gradient_share/<term>``, each one's part of their sum in percent."""
    total = math.fsum(norms.values())
    shares = {name: 100 * norm / total if total > 0 else 0.0 for name, norm in norms.items()}
    return {
        **{f"gradient/{name}": norm for name, norm in norms.items()},
        **{f"gradient_share/{name}": share for name, share in shares.items()},
    }


def without_a_trace(
    module: nn.Module, device: torch.device, action: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """Return what the action gives, and undo what its forward pass did: batch statistics and drawn random numbers."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        result = action()
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    return result
