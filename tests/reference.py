"""Replays a stored training trajectory of a released method with this project's networks, losses and steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import methods
from methods import Method, Progress

GOLDEN = Path(__file__).parent / "golden"


def replay(path: str | Path) -> dict[str, Any]:
    """Set a file's initial state, take its steps, and return what ours gives.

    The file holds ``init/NNN/<name>`` (the state in definition order, without batch counters), ``inputs``
    ``[step, (view,) B, C, H, W]``, ``labels`` ``[step, B]``, ``eval_inputs``, ``eval/<kind>`` and ``meta``. Its name
    begins with the method's.

    Returns:
        ``losses`` (a float a step) and ``eval`` (kind to logits in eval mode, shaped as in the file).
    """
    with np.load(path) as stored:
        arrays = dict(stored)
    meta = json.loads(str(arrays["meta"]))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return _replay(_build(_method_name(Path(path)), meta, arrays), meta, arrays)
    finally:
        torch.set_default_dtype(default)


def _method_name(path: Path) -> str:
    return max((name for name in methods.available() if path.stem.startswith(name)), key=len)


def _build(name: str, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Method:
    given = {
        "peers": len(arrays["eval/peers"]),
        "temperature": meta["T"],
        "weight": meta["weight"],
        "ema_decay": meta.get("ema_decay"),
        "ema_warmup": meta.get("ema_warmup"),
    }
    known = methods.registry.load(name).Hyperparameters.model_fields
    chosen = {key: value for key, value in given.items() if key in known and value is not None}
    channels, side = arrays["inputs"].shape[-3], arrays["inputs"].shape[-1]
    built = methods.build(
        name,
        backbone=meta["backbone"],
        num_classes=meta["num_classes"],
        in_channels=channels,
        image_size=side,
        **chosen,
    )
    initial = [torch.as_tensor(arrays[key]) for key in sorted(arrays) if key.startswith("init/")]
    teacher = getattr(built, "teacher", None)
    if isinstance(teacher, nn.Module):
        _set_state(teacher, initial)
        _set_state(built.get_submodule("network"), initial)
    else:
        _set_state(built, initial)
    return built


def _set_state(module: nn.Module, initial: list[torch.Tensor]) -> None:
    own = {name: value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    for (name, value), stored in zip(own.items(), initial, strict=True):
        if value.shape != stored.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, the file {tuple(stored.shape)}")
        value.copy_(stored)


def _replay(built: Method, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    settings = {name: meta[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD([one for one in built.parameters() if one.requires_grad], **settings)
    built.train()
    losses = []
    inputs = torch.as_tensor(arrays["inputs"], dtype=torch.float64)
    for step, (views, labels) in enumerate(zip(inputs, torch.as_tensor(arrays["labels"]), strict=True)):
        progress = Progress(epoch=meta["epoch"], step=step, epochs=300)
        outputs = built(views if views.dim() == 5 else views.unsqueeze(0))
        loss = torch.stack(list(built.losses(outputs, labels, progress).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        built.after_step(progress)
        losses.append(loss.item())
    built.eval()
    with torch.no_grad():
        predicted = built.predict(torch.as_tensor(arrays["eval_inputs"], dtype=torch.float64))
    kinds = [key.removeprefix("eval/") for key in arrays if key.startswith("eval/")]
    return {"losses": losses, "eval": {kind: _of_kind(predicted, kind) for kind in kinds}}


def _of_kind(predicted: dict[str, torch.Tensor], kind: str) -> np.ndarray:
    if kind in predicted:
        return predicted[kind].numpy()
    singular = kind.removesuffix("s")
    numbered = [logits for name, logits in predicted.items() if name.rstrip("0123456789") == singular]
    return torch.stack(numbered).numpy()
