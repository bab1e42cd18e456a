"""Reference cases, each of a loss, a step or a state in float64; those of the later methods are in three files."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

Case = dict[str, Any]

TOLERANCE = 1e-9
ZERO = 1e-13
"""Absolute, for gradients that are exactly 0 in the formula and rounding in the file."""

_SHOWN = (
    *("peers", "teachers", "students", "temperature", "contrast_temperature", "epoch", "interval", "training"),
    *("decay", "decay_rate", "warmup"),
)


def read(name: str) -> list[Case]:
    """Return a file's cases: the repository's copy, or the file in the folder that OKDBENCH_GOLDEN names."""
    folder = os.environ.get("OKDBENCH_GOLDEN")
    if folder:
        cases: list[Case] = json.loads((Path(folder) / f"{name}.json").read_text())
        return cases
    packed = Path(__file__).parent / "golden" / "more" / f"{name}.json.gz"
    unpacked: list[Case] = json.loads(gzip.decompress(packed.read_bytes()))
    return unpacked


def named(cases: list[Case], *kinds: str) -> list[Any]:
    """The cases of some kinds, each with an id that says what it is."""
    found = []
    for number, case in enumerate(cases):
        if case["case"] in kinds:
            params = case["params"]
            words = [f"{key}={params[key]}" for key in _SHOWN if key in params]
            found.append(pytest.param(case, id="-".join([case["case"], *words, f"{number:03d}"])))
    return found


def tensor(value: Any) -> Tensor:
    """A number or nested list as float64."""
    return torch.tensor(value, dtype=torch.float64)


def inputs_of(case: Case, without: str = "") -> dict[str, Tensor]:
    """A case's tensors, those that the file has a gradient of ready to receive one; states are left out."""
    whole = ("labels", "indices", "image_labels", "image_indices")
    return {
        key: torch.tensor(value, dtype=torch.int64 if key in whole else torch.float64).requires_grad_(
            key in (case.get("grad") or {})
        )
        for key, value in case["inputs"].items()
        if key != without and isinstance(value, list) and not isinstance(value[0], dict)
    }


def check_loss(loss: Tensor, inputs: dict[str, Tensor], case: Case) -> None:
    """Compare a loss and its gradients with the file's."""
    assert loss.item() == pytest.approx(case["loss"], rel=TOLERANCE)
    # a tensor that a loss does not reach has the gradient 0
    found = torch.autograd.grad(loss, [inputs[key] for key in case["grad"]], allow_unused=True, materialize_grads=True)
    for gradient, expected in zip(found, case["grad"].values(), strict=True):
        close(gradient, expected)


def close(ours: Tensor | None, expected: Any) -> None:
    """Compare a tensor with a nested list: relatively, and absolutely where the file has 0 but for rounding."""
    assert ours is not None
    expected = np.asarray(expected)
    largest = np.abs(expected).max()
    assert ours.numel() == expected.size
    np.testing.assert_allclose(
        ours.detach().reshape(expected.shape), expected, rtol=TOLERANCE, atol=max(ZERO, TOLERANCE * largest)
    )
