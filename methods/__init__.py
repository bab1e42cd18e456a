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

_HOMES = {"MethodMetric": "metrics", **dict.fromkeys(("available", "build", "restored"), "registry")}
"""The modules of names that are not in ``interface``."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"methods.{_HOMES.get(name, 'interface')}"), name)
    try:
        return import_module(f"methods.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"methods.{name}":
            raise
        raise AttributeError(f"module 'methods' has no attribute {name!r}") from None
