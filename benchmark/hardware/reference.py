"""Stored numbers of training steps, which any device has to meet.

``reference.json`` has the losses of three training steps of small networks whose weights and images are sines of their
positions, which every machine makes alike. After a change that alters numbers:
``python -m benchmark.hardware.reference``.
"""

import json
import math
from importlib.resources import files
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

import methods
from benchmark.configuration import Request, complete_methods
from benchmark.hardware.measurements import Check
from benchmark.training import Precision, PrecisionConfig, StepBatch, optimise
from methods import Method, Progress, registry

BACKBONE, CLASSES, CHANNELS, SIDE, BATCH = "resnet8", 3, 3, 16, 8
STEPS, LEARNING_RATE = 3, 0.02

Arithmetic = Literal["float64"] | Precision
Trajectory = list[dict[str, float]]
"""The terms of each step."""


class Comparison(NamedTuple):
    """How trajectories are compared in an arithmetic."""

    # how many of them: rounding grows about a hundredfold a step once an activation changes its sign, so that later
    # ones say nothing of other kernels' numbers in less than float64
    steps: int
    tolerance: float  # of a term's difference, relative to its size
    floor: float = 1.0  # the size below which it is relative to this
    terms: int | None = None  # how many of a step's terms, the first of which is the cross-entropy; None: all


TRAJECTORIES: dict[Arithmetic, Comparison] = {
    "float64": Comparison(STEPS, 1e-9),
    # relative noise of 3e-6 in every convolution is a quarter of this; a weight that is off by 1 % ten times as much
    "fp32": Comparison(1, 1e-3, floor=1e-3),
    "tf32": Comparison(1, 1e-2, terms=1),
    "bf16": Comparison(1, 5e-2, terms=1),
}


def read() -> dict[str, Trajectory]:
    """Return the stored trajectories by method."""
    content: dict[str, Trajectory] = json.loads((files("benchmark.hardware") / "reference.json").read_text("utf-8"))
    return content


def compare(device: torch.device, stored: Trajectory, method: str, arithmetic: Arithmetic) -> list[Check]:
    """Compare the losses of a method's stored steps with the device's, as :data:`TRAJECTORIES` says."""
    steps, tolerance, floor, terms = TRAJECTORIES[arithmetic]
    differences = {
        f"step {number}, {name}": abs(found[name] - expected) / max(floor, abs(expected))
        for number, found in enumerate(trajectory(method, device, arithmetic, steps))
        for name, expected in list(stored[number].items())[:terms]
    }
    check = Check(what="stored", method=method, arithmetic=arithmetic)
    # what is not finite is within no tolerance
    check.difference = max(differences.values()) if all(map(math.isfinite, differences.values())) else None
    wrong = next((place for place, difference in differences.items() if not difference <= tolerance), None)
    check.fault = None if wrong is None else f"{wrong}: {differences[wrong]:.3g}, allowed are {tolerance:g}"
    return [check]


def trajectory(method: str, device: torch.device, arithmetic: Arithmetic, steps: int = STEPS) -> Trajectory:
    """Return the terms of a method's first steps from weights that are sines of their positions."""
    dtype = torch.float64 if arithmetic == "float64" else torch.float32
    built = _built(method).to(device, dtype).train()
    computed = PrecisionConfig(device, "fp32" if arithmetic == "float64" else arithmetic, device.type == "cpu")
    computed.apply(1)
    trained = [parameter for parameter in built.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    views = _sines((built.views, BATCH, CHANNELS, SIDE, SIDE), 0.7, 1.0).to(device, dtype)
    labels = (torch.arange(BATCH) % CLASSES).to(device)
    built.start(repeat((views, labels)))
    found = []
    for step in range(steps):
        progress = Progress(epoch=step, step=step, epochs=STEPS)
        batch = StepBatch(views.roll(step, 1), labels)
        terms = optimise(built, optimizer, batch, progress, autocast=computed.autocast())
        built.after_step(progress)
        found.append({name: term.item() for name, term in terms.items()})
    return found


def _built(method: str) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fields = registry.load(method).Hyperparameters.model_fields
        few: dict[str, Any] = {"peers": 2} if "peers" in fields else {}
        few |= {"num_classes": CLASSES, "in_channels": CHANNELS, "image_size": SIDE}
        built = methods.build(method, backbone=BACKBONE, **few).double()
    with torch.no_grad():
        for place, value in enumerate((*built.parameters(), *built.buffers())):
            if value.is_floating_point() and value.dim() > 1:
                fan = math.prod(value.shape[1:])
                value.copy_(_sines(tuple(value.shape), 0.37, float(place)) * (3 / fan) ** 0.5)
            elif isinstance(value, torch.nn.Parameter):
                # scales and shifts of norms, and biases: near what they begin with, and all different
                value.copy_((value > 0.5).double() + 0.01 * _sines(tuple(value.shape), 0.11, float(place)))
    return built


def _sines(shape: tuple[int, ...], rate: float, start: float) -> Tensor:
    flat = np.sin(rate * np.arange(math.prod(shape), dtype=np.float64) + start)
    return torch.from_numpy(flat).reshape(shape)


if __name__ == "__main__":
    _cpu = torch.device("cpu")
    _found = {name: trajectory(name, _cpu, "float64") for name in complete_methods(Request([{}]))}
    Path(__file__).with_name("reference.json").write_text(json.dumps(_found) + "\n", encoding="utf-8")
