"""Stored numbers of losses and training steps, which any device has to meet.

``reference.json`` has losses of given logits, computed from the formulas of the methods' released code, and the losses
of three training steps of small networks whose weights and images are sines of their places, which every machine makes
alike. After a change that alters numbers: ``python -m benchmark.probing.reference``.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import methods
from benchmark.configuration import Request, complete_methods
from benchmark.probing.records import Agreement, Precision
from benchmark.training import Arithmetic, StepBatch, optimise
from methods import Method, Outputs, Progress, registry

BACKBONE, CLASSES, CHANNELS, SIDE, BATCH = "resnet8", 3, 3, 16, 8
STEPS, LEARNING_RATE = 3, 0.02

TOLERANCES = {"float64": 1e-9, "fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2}
"""Of trajectories: rounding grows a hundredfold a step once an activation falls on the other side of zero."""
REDUCED = ("tf32", "bf16")
"""In these only the first step's first term is compared, which is the cross-entropy: what follows is another number."""
LOSS_TOLERANCES = {"float64": 1e-9, "fp32": 1e-4}
"""Losses are always computed in full precision."""


def read() -> dict[str, Any]:
    """Return the stored numbers: ``losses``, a list of cases, and ``trajectories`` by method."""
    content: dict[str, Any] = json.loads((files("benchmark.probing") / "reference.json").read_text(encoding="utf-8"))
    return content


def loss_agreements(device: torch.device, stored: dict[str, Any]) -> Iterator[Agreement]:
    """Compare every stored loss with the device's."""
    for arithmetic, dtype in (("float64", torch.float64), ("fp32", torch.float32)):
        with _exactly(device):
            for case in stored["losses"]:
                found = _loss(case, device, dtype)
                yield _agreement("loss", case["name"], arithmetic, [(found, case["loss"])], LOSS_TOLERANCES)


def trajectory_agreement(device: torch.device, stored: dict[str, Any], method: str, arithmetic: str) -> Agreement:
    """Compare the losses of a method's stored steps with the device's."""
    terms = trajectory(method, device, arithmetic)
    pairs = [
        (found[name], expected)
        for found, step in zip(terms, stored["trajectories"][method], strict=True)
        for name, expected in step.items()
    ]
    if arithmetic in REDUCED:
        pairs = pairs[:1]
    return _agreement("trajectory", method, arithmetic, pairs, TOLERANCES)


def trajectory(method: str, device: torch.device, arithmetic: str) -> list[dict[str, float]]:
    """Return the terms of a method's three steps from weights that are sines of their places."""
    dtype = torch.float64 if arithmetic == "float64" else torch.float32
    precision: Precision = "tf32" if arithmetic == "tf32" else "bf16" if arithmetic == "bf16" else "fp32"
    with _exactly(device):
        built = _built(method).to(device, dtype).train()
        computed = Arithmetic(device, precision, device.type == "cpu")
        computed.apply(1)
        trained = [parameter for parameter in built.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
        views = _sines((built.views, BATCH, CHANNELS, SIDE, SIDE), 0.7, 1.0).to(device, dtype)
        labels = (torch.arange(BATCH) % CLASSES).to(device)
        built.start(repeat((views, labels)))
        found = []
        for step in range(STEPS):
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
    what: Any, case: str, arithmetic: Any, pairs: list[tuple[float, float]], tolerances: dict[str, float]
) -> Agreement:
    worst = max(abs(found - expected) / max(1.0, abs(expected)) for found, expected in pairs)
    if any(not math.isfinite(found) for found, _ in pairs):
        return Agreement(what=what, case=case, arithmetic=arithmetic, difference=None, tolerance=tolerances[arithmetic])
    return Agreement(what=what, case=case, arithmetic=arithmetic, difference=worst, tolerance=tolerances[arithmetic])


@contextmanager
def _exactly(device: torch.device) -> Iterator[None]:
    """Compute without tf32, and leave the process as it was."""
    threads, matmul, cudnn = (
        torch.get_num_threads(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    deterministic = torch.are_deterministic_algorithms_enabled()
    Arithmetic(device, "fp32", device.type == "cpu").apply(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
        torch.use_deterministic_algorithms(deterministic)


def main() -> None:
    """Renew the trajectories; the losses are computed elsewhere and stay."""
    path = Path(__file__).with_name("reference.json")
    losses = read()["losses"]
    cpu = torch.device("cpu")
    found = {name: trajectory(name, cpu, "float64") for name in complete_methods(Request([{}]))}
    path.write_text(json.dumps({"losses": losses, "trajectories": found}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
