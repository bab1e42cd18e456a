"""The clause on labels that are probabilities: smoothed ones, and mixed ones where the method takes them."""

import torch
from torch import Tensor

from benchmark.checking.cases import WHEN, Case
from benchmark.checking.comparing import ContractError, difference
from methods import Outputs
from methods.interface import Method
from methods.objectives import hard_labels, soft_labels

SMOOTHING = 0.2
SHARE = 0.7
"""Of an image's own label in a mixed one."""


def losses_take_probabilities(case: Case) -> None:
    """What a method declares of mixed labels holds; smoothed ones are taken with either. Undeclared: nothing is."""
    method = case.fresh
    if method.mixed_labels is None:
        return
    views, labels = case.batch(0, method.views)
    outputs = method(views)
    sure = soft_labels(labels, case.num_classes)
    by_class = _losses(method, outputs, labels)
    for name, term in _losses(method, outputs, sure).items():
        if name not in by_class or not torch.allclose(term, by_class[name], rtol=1e-4, atol=1e-6):
            raise ContractError(f"the loss {name!r} is another one when a sure label is written as probabilities")
    smoothed = _losses(method, outputs, soft_labels(labels, case.num_classes, SMOOTHING))
    if not difference(by_class, smoothed):
        raise ContractError("no loss is changed by train.label_smoothing: methods.objectives.cross_entropy is")
    if method.mixed_labels:
        mixed = SHARE * sure + (1 - SHARE) * sure.roll(1, 0)
        if not difference(_losses(method, outputs, hard_labels(mixed)), _losses(method, outputs, mixed)):
            raise ContractError("mixed_labels is True, and no loss is changed by the second class of a label")


def _losses(method: Method, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
    terms = method.losses(outputs, labels, WHEN[0])
    for name, term in terms.items():
        if not term.isfinite():
            raise ContractError(f"the loss {name!r} of labels as probabilities is {term.item()}")
    return terms
