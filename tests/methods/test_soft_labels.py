"""Smoothed and mixed labels: the one cross-entropy that all methods use, and which methods take what."""

import pytest
import torch
import torch.nn.functional as F

from methods import registry
from methods.objectives import cross_entropy, hard_labels, soft_labels

LABELS = torch.tensor([2, 0, 1, 2])


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 4, 3, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.75])
def test_smoothing_is_its_closed_form(smoothing: float) -> None:
    given = logits()
    log_probabilities = torch.log_softmax(given, dim=-1)
    wanted = -(1 - smoothing) * log_probabilities[torch.arange(4), LABELS] - smoothing * log_probabilities.mean(-1)
    found = cross_entropy(given, soft_labels(LABELS, 3, smoothing).double())
    assert found.item() == pytest.approx(wanted.mean().item(), rel=1e-7)
    theirs = F.cross_entropy(given, LABELS, label_smoothing=smoothing)
    for ours, reference in zip(*(torch.autograd.grad(loss, given) for loss in (found, theirs)), strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-9)


def test_probabilities_are_the_means_over_classes_summed_over_peers() -> None:
    given, mixed = logits(2, 3), torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [1, 0, 0], [0, 0.9, 0.1]]).double()
    wanted = -(mixed * torch.log_softmax(given, dim=-1)).sum(-1).mean(-1).sum()
    assert cross_entropy(given, mixed).item() == pytest.approx(wanted.item(), rel=1e-12)
    # whatever the labels' precision, the loss has that of the logits
    assert cross_entropy(given, mixed.float()).dtype == torch.float64


def test_class_indices_are_as_they_always_were() -> None:
    given = logits(2)
    assert torch.equal(cross_entropy(given, LABELS), F.cross_entropy(given.reshape(-1, 3), LABELS.repeat(2)) * 2)


def test_soft_labels_exactly() -> None:
    mixed = torch.tensor([[0.25, 0.75, 0.0, 0.0]])
    assert soft_labels(torch.tensor([1]), 4, 0.5).tolist() == [[0.125, 0.625, 0.125, 0.125]]
    assert soft_labels(mixed, 4, 0.5).tolist() == [[0.25, 0.5, 0.125, 0.125]]
    assert soft_labels(mixed, 4).tolist() == mixed.tolist()


def test_a_smoothed_label_keeps_its_class() -> None:
    assert hard_labels(LABELS) is LABELS
    assert torch.equal(hard_labels(soft_labels(LABELS, 3, 0.99)), LABELS)


def test_every_method_here_says_whether_it_takes_mixed_labels() -> None:
    said = {name: registry.load(name).mixed_labels for name in registry.available()}
    assert None not in said.values()
    assert {name for name, taken in said.items() if not taken} == {"kdcl", "mcl", "mcl_okd", "switokd"}
