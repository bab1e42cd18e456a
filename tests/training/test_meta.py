"""Operations answered by the shape alone: what torch itself says on the meta device, errors too."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmark.training.initialisation import MetaShortcuts
from methods.backbones import make

Made = list[tuple[torch.Size, torch.dtype, tuple[int, ...], torch.device] | None]


class Refusing(TorchDispatchMode):
    """Nothing reaches torch but what makes a tensor or writes over one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        allowed = ("empty", "zeros", "ones", "detach", "zero_", "fill_", "add_", "lift_fresh")
        if not any(word in func.name() for word in allowed):
            raise AssertionError(f"{func} is left to torch")
        return func(*args, **(kwargs or {}))


def described(*tensors: Tensor | None) -> Made:
    return [None if each is None else (each.shape, each.dtype, each.stride(), each.device) for each in tensors]


def images() -> Tensor:
    return torch.empty(4, 6, 5, 5, device="meta", requires_grad=True)


def normalised(train: bool, affine: bool = True, channels: int = 6) -> Made:
    layer = nn.BatchNorm2d(channels, affine=affine, device="meta").train(train)
    given = images()
    result = layer(given)
    result.backward(torch.empty_like(result))
    return described(result, given.grad, *(weight.grad for weight in layer.parameters()))


def batch_statistics_alone() -> Made:
    given = images()
    result = functional.batch_norm(given, None, None, training=True)
    result.backward(torch.empty_like(result))
    return described(result, given.grad)


def rectified() -> Made:
    given = images()
    result = functional.relu(given)
    result.backward(torch.empty_like(result))
    return described(result, given.grad)


ACTIONS: dict[str, Callable[[], Made]] = {
    "batch statistics": lambda: normalised(True),
    "running statistics": lambda: normalised(False),
    "rectified": rectified,
    "random": lambda: described(nn.init.normal_(images()), nn.init.uniform_(images())),
}
LEFT: dict[str, Callable[[], Made]] = {
    "without weights": lambda: normalised(True, affine=False),
    "no running statistics": batch_statistics_alone,
}


@pytest.mark.parametrize("action", [*ACTIONS.values(), *LEFT.values()], ids=[*ACTIONS, *LEFT])
def test_the_answer_is_torchs_own(action: Callable[[], Made]) -> None:
    expected = action()
    with MetaShortcuts():
        assert action() == expected


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
def test_torch_takes_none_of_them_apart(action: Callable[[], Made]) -> None:
    with Refusing(), MetaShortcuts():
        assert action()


def test_sizes_that_do_not_fit_are_refused_as_without() -> None:
    with pytest.raises(RuntimeError):
        normalised(True, True, 7)
    with MetaShortcuts(), pytest.raises(RuntimeError):
        normalised(True, True, 7)


def test_tensors_with_values_keep_them() -> None:
    def step() -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        layer = nn.BatchNorm2d(3)
        given = torch.randn(4, 3, 2, 2, requires_grad=True)
        result = functional.relu(layer(given) + given)
        return result, *torch.autograd.grad(result.sum(), (given, layer.weight)), layer.state_dict()["running_mean"]

    expected = step()
    with MetaShortcuts():
        found = step()
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", ["resnet8", "densenet40_12", "shufflenet_v2"])
def test_multiply_adds_of_a_step_are_the_same(name: str) -> None:
    def counted() -> int:
        network = make(name, 10).network()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(2, 3, 32, 32)).sum().backward()
        return int(counter.get_total_flops())

    with torch.device("meta"):
        expected = counted()
        with MetaShortcuts():
            assert counted() == expected
    assert expected > 0
