"""Stored numbers of losses and training steps, which any device has to meet.

``reference.json`` has losses of given logits, computed from the formulas of the methods' released code, and the losses
of three training steps of small networks whose weights and images are sines of their positions, which every
machine makes alike. After a change that alters numbers: ``python -m benchmark.hardware.reference``.
"""

import json
import math
from importlib.resources import files
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import methods
from benchmark.configuration import Request, complete_methods
from benchmark.hardware.report import Agreement
from benchmark.training import Precision, PrecisionConfig, StepBatch, optimise
from methods import Method, Outputs, Progress, registry

BACKBONE, CLASSES, CHANNELS, SIDE, BATCH = "resnet8", 3, 3, 16, 8
STEPS, LEARNING_RATE = 3, 0.02


class Comparison(NamedTuple):
    """How trajectories are compared in an arithmetic."""

    # how many of them: rounding grows about a hundredfold a step once an activation changes its sign, so that later
    # ones say nothing of other kernels' numbers in less than float64
    steps: int
    tolerance: float  # of a term's difference, relative to its size
    floor: float = 1.0  # the size below which it is relative to this
    terms: int | None = None  # how many of a step's terms, the first of which is the cross-entropy; None: all


TRAJECTORIES = {
    "float64": Comparison(STEPS, 1e-9),
    # relative noise of 3e-6 in every convolution is a quarter of this; a weight that is off by 1 % ten times as much
    "fp32": Comparison(1, 1e-3, floor=1e-3),
    "tf32": Comparison(1, 1e-2, terms=1),
    "bf16": Comparison(1, 5e-2, terms=1),
}
LOSSES = {"float64": (torch.float64, 1e-9), "fp32": (torch.float32, 1e-4)}
"""Losses are always computed in full precision."""


def read() -> dict[str, Any]:
    """Return the stored numbers: ``losses``, a list of cases, and ``trajectories`` by method."""
    content: dict[str, Any] = json.loads((files("benchmark.hardware") / "reference.json").read_text(encoding="utf-8"))
    return content


def loss_agreements(device: torch.device, stored: dict[str, Any]) -> list[Agreement]:
    """Compare every stored loss with the device's."""
    found = []
    PrecisionConfig(device, "fp32", device.type == "cpu").apply(1)
    for arithmetic, (dtype, tolerance) in LOSSES.items():
        for case in stored["losses"]:
            pair = _loss(case, device, dtype), case["loss"]
            found.append(_agreement("loss", case["name"], arithmetic, [pair], tolerance))
    return found


def trajectory_agreement(device: torch.device, stored: dict[str, Any], method: str, arithmetic: str) -> Agreement:
    """Compare the losses of a method's stored steps with the device's, as :data:`TRAJECTORIES` says."""
    steps, tolerance, floor, terms = TRAJECTORIES[arithmetic]
    pairs = [
        (found[name], expected)
        for found, step in zip(
            trajectory(method, device, arithmetic, steps), stored["trajectories"][method][:steps], strict=True
        )
        for name, expected in list(step.items())[:terms]
    ]
    return _agreement("trajectory", method, arithmetic, pairs, tolerance, floor)


def trajectory(method: str, device: torch.device, arithmetic: str, steps: int = STEPS) -> list[dict[str, float]]:
    """Return the terms of a method's first steps from weights that are sines of their positions."""
    dtype = torch.float64 if arithmetic == "float64" else torch.float32
    precision: Precision = arithmetic if arithmetic in ("tf32", "bf16") else "fp32"  # type: ignore[assignment]
    built = _built(method).to(device, dtype).train()
    computed = PrecisionConfig(device, precision, device.type == "cpu")
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
        built = methods.build(
            method, backbone=BACKBONE, num_classes=CLASSES, in_channels=CHANNELS, image_size=SIDE, **few
        ).double()
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


def _loss(case: dict[str, Any], device: torch.device, dtype: torch.dtype) -> float:
    given = {
        key: torch.tensor(value, device=device, dtype=torch.int64 if key == "labels" else dtype)
        for key, value in case["inputs"].items()
    }
    labels = given.pop("labels")
    method = methods.build(
        case["method"], backbone=BACKBONE, num_classes=given["peers"].shape[-1], image_size=SIDE, **case["params"]
    )
    terms = method.losses(Outputs(**given), labels, Progress(epoch=case["epoch"], step=0, epochs=300))
    return float(torch.stack(list(terms.values())).sum())


def _agreement(
    what: Any, case: str, arithmetic: Any, pairs: list[tuple[float, float]], tolerance: float, floor: float = 1.0
) -> Agreement:
    finite = all(math.isfinite(found) for found, _ in pairs)
    worst = max(abs(found - expected) / max(floor, abs(expected)) for found, expected in pairs) if finite else None
    return Agreement(what=what, case=case, arithmetic=arithmetic, difference=worst, tolerance=tolerance)


def main() -> None:
    """Renew the trajectories; the losses are computed elsewhere and stay."""
    path = Path(__file__).with_name("reference.json")
    losses = read()["losses"]
    cpu = torch.device("cpu")
    found = {name: trajectory(name, cpu, "float64") for name in complete_methods(Request([{}]))}
    path.write_text(json.dumps({"losses": losses, "trajectories": found}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
