"""The network architectures, each a stem that peers may share and a branch that each peer has for itself."""

from methods.backbones.base import Backbone, Branch, Network
from methods.backbones.catalogue import available, describe, make

__all__ = ["Backbone", "Branch", "Network", "available", "describe", "make"]
