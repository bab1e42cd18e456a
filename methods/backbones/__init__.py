"""The network architectures, each a stem that peers may share and a branch that each peer has for itself.

Importing this package is cheap: torch is loaded by the first name that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from methods.backbones.catalogue import available, describe, make, sources

if TYPE_CHECKING:
    from methods.backbones.base import Backbone, Branch, Network
    from methods.backbones.whole import from_module

__all__ = [
    "Backbone",
    "Branch",
    "Network",
    "available",
    "describe",
    "from_module",
    "make",
    "sources",
]


def __getattr__(name: str) -> Any:
    if name in {"Backbone", "Branch", "Network"}:
        return getattr(import_module("methods.backbones.base"), name)
    if name == "from_module":
        return import_module("methods.backbones.whole").from_module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
