"""Online knowledge distillation: the methods, their losses and their networks.

``available()`` lists the methods and ``build(name, ...)`` makes one. Importing this package is cheap: torch and
pydantic are loaded by the first name that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from methods.hyperparameters import BaseHyperparameters
    from methods.interface import FrozenParameters, Method, Outputs, ParameterGroup, Progress
    from methods.metrics import MethodMetric
    from methods.registry import available, build, restored

__all__ = [
    "BaseHyperparameters",
    "FrozenParameters",
    "Method",
    "MethodMetric",
    "Outputs",
    "ParameterGroup",
    "Progress",
    "available",
    "build",
    "restored",
]

_REGISTRY = frozenset({"available", "build", "restored"})
_INTERFACE = frozenset({"BaseHyperparameters", "FrozenParameters", "Method", "Outputs", "ParameterGroup", "Progress"})


def __getattr__(name: str) -> Any:
    if name in _REGISTRY:
        return getattr(import_module("methods.registry"), name)
    if name in _INTERFACE:
        return getattr(import_module("methods.interface"), name)
    if name == "MethodMetric":
        return import_module("methods.metrics").MethodMetric
    try:
        return import_module(f"methods.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"methods.{name}":
            raise
        raise AttributeError(f"module 'methods' has no attribute {name!r}") from None
