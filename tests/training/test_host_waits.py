"""No step waits for the device: on tensors without values whatever would bring one to the host fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import methods
from benchmark.configuration import DataConfig, RunConfig, TrainConfig
from benchmark.datasets import Shape, random_dataset
from benchmark.training import Normalisation, Trainer
from benchmark.training.meta import ShapesAlone
from benchmark.training.optimizer import decayed_groups, parameter_groups, set_rates
from methods import Progress, registry

CLASSES, SIDE, BATCH, EPOCHS = 4, 8, 4, 3
IMAGES = random_dataset(Shape(3 * BATCH, 2, CLASSES, 1, SIDE))

NO_PART_OF_A_STEP = ("ramp", "decay", "teacher_init")

PLUGIN = '''
import torch

from methods.objectives import cross_entropy
from methods.peers import PeerHyperparameters, SeparatePeers


class Waiting(SeparatePeers):
    """Does one thing too many in its loss."""

    name = "waiting"
    Hyperparameters = PeerHyperparameters

    def __init__(self, backbones, hyperparameters):
        super().__init__(backbones, hyperparameters, hyperparameters.peers)

    def losses(self, outputs, labels, progress):
        loss = cross_entropy(outputs.peers, labels)
        self.action(loss, outputs.peers, labels)
        return {"cross_entropy": loss}
'''


class Transfers(TorchDispatchMode):
    """Refuses whatever takes tensors of one device and gives them on another."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {leaf.device for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        if len(given | {leaf.device for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}) > 1:
            raise RuntimeError(f"{func} goes from one device to another")
        return result


class Uploads(TorchFunctionMode):
    """Refuses tensors made of the host's numbers, lists as indices among them: they are copied to the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        listed = func is Tensor.__getitem__ and any(isinstance(leaf, list) for leaf in (args[1], *_parts(args[1])))
        if listed or func in (torch.tensor, torch.as_tensor, torch.from_numpy):
            raise RuntimeError(f"{func} copies the host's numbers to the device")
        return func(*args, **(kwargs or {}))


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else ()


def trainer(method: str, hyperparameters: dict[str, Any], plugins: tuple[Path, ...] = (), **train: Any) -> Trainer:
    """A trainer whose method, images and optimiser have lost all values: everything lies on torch's meta device."""
    chosen = registry.resolve(registry.load(method, plugins), hyperparameters, ["resnet8"], EPOCHS)
    config = RunConfig(
        method=method,
        dataset="random",
        backbone="resnet8",
        seed=0,
        train=TrainConfig(epochs=EPOCHS, batch_size=BATCH, **train),
        data=DataConfig(pad=1),
        hyperparameters=chosen.model_dump(mode="json"),
        method_version=1,
        dataset_checksum="",
    )
    made = Trainer(config, IMAGES, torch.device("cpu"), plugins)
    without_values(made.method)
    made.labels = made.batches.labels = made.labels.to("meta")
    augmentation = made.batches.augmentation
    augmentation.images = torch.as_tensor(augmentation.images).to("meta")
    normalisation = augmentation.normalisation
    augmentation.normalisation = Normalisation(normalisation.scale.to("meta"), normalisation.shift.to("meta"))
    made.groups = decayed_groups(parameter_groups(made.method), config.train)
    # there is no fused step without values
    made.optimizer = torch.optim.SGD([group.as_torch() for group in made.groups], lr=0.1, momentum=0.9, nesterov=True)
    return made


def without_values(module: nn.Module) -> None:
    """Move a module's parameters and buffers, one that it holds twice as one tensor."""
    moved: dict[int, Any] = {}
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, value in held.items():
                if value is not None:
                    meta = value.detach().to("meta")
                    new = nn.Parameter(meta, value.requires_grad) if isinstance(value, nn.Parameter) else meta
                    # the old tensor is kept too, so that no other takes its identity
                    held[name] = moved.setdefault(id(value), (new, value))[0]


def steps(made: Trainer, count: int = 1) -> None:
    """Take steps of a later epoch as the trainer does, from the choice of images to the losses' sum."""
    batches = made.batches.of_epoch("order", "augmentation", 1)
    # the epoch's order and its crops are drawn on the host, before its first step
    batch, _ = next(batches)
    for step in range(count):
        with ShapesAlone(), Transfers(), Uploads():
            set_rates(made.optimizer, made.groups, made.config.train, 1, 1.0)
            terms = made.train_step(batch.views, batch.labels, Progress(1, 3 + step, EPOCHS, True), batch.indices)
            sum(term * len(batch.labels) for term in terms.values())
            batch, _ = next(batches)


def variants() -> list[Any]:
    """Every method at its defaults, and with the first, the second, ... other choice of all its words and switches."""
    found = []
    for name in methods.available():
        found.append(pytest.param(name, {}, id=name))
        choices = {}
        model = registry.load(name).Hyperparameters
        # shapes of schedules are numbers of the host, and the start lies before the first step
        for field, info in ((own, info) for own, info in model.model_fields.items() if own not in NO_PART_OF_A_STEP):
            every = getattr(info.annotation, "__args__", (True, False) if info.annotation is bool else ())
            choices[field] = [own for own in every if isinstance(own, str | bool) and own != info.default]
        for number in range(max(map(len, choices.values()), default=0)):
            chosen = {field: own[number] for field, own in choices.items() if len(own) > number}
            found.append(pytest.param(name, chosen, id=f"{name}-{'-'.join(map(str, chosen.values()))}"))
    return found


def example(method: str, folder: Path) -> dict[str, Any]:
    """What a method needs to be built at all, and as few peers as are several."""
    cls = registry.load(method)
    field = cls.Hyperparameters.model_fields.get("peers")
    few = {"peers": 2} if field is not None and field.get_default() > 2 else {}
    return {**few, **cls.example(folder, "resnet8", CLASSES, 1, SIDE)}


@pytest.mark.parametrize(("method", "chosen"), variants())
def test_no_step_waits_for_the_device(method: str, chosen: dict[str, Any], tmp_path: Path) -> None:
    # at the defaults also a step that finds the optimiser's momentum
    steps(trainer(method, {**example(method, tmp_path), **chosen}), 1 if chosen else 2)


WAITS: dict[str, Callable[[Tensor, Tensor, Tensor], object]] = {
    "item": lambda loss, logits, labels: loss.item(),
    "float": lambda loss, logits, labels: float(loss.detach()),
    "bool": lambda loss, logits, labels: bool(loss > 0),
    "tolist": lambda loss, logits, labels: labels.tolist(),
    "cpu": lambda loss, logits, labels: logits.argmax(-1).cpu(),
    "to": lambda loss, logits, labels: logits.max().to("cpu"),
    "numpy": lambda loss, logits, labels: labels.numpy(),
    "mask": lambda loss, logits, labels: labels[labels > 0],
    "nonzero": lambda loss, logits, labels: torch.nonzero(labels),
    "beside": lambda loss, logits, labels: loss.detach() + torch.ones(()),
    "tensor": lambda loss, logits, labels: torch.tensor([1.0, 2.0], device=labels.device),
    "list": lambda loss, logits, labels: logits[[0, 1]],
    "lists": lambda loss, logits, labels: logits[:, [0, 1]],
}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    plugin = tmp_path_factory.mktemp("plugin") / "waiting.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    made = trainer("waiting", {"peers": 2}, (plugin,))
    method: Any = made.method
    method.action = lambda *given: None
    steps(made)
    return made


@pytest.mark.parametrize("action", WAITS.values(), ids=WAITS)
def test_a_loss_that_waits_is_found(action: Callable[..., object], waiting: Any) -> None:
    waiting.method.action = action
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        steps(waiting)
