"""Datasets by name: labelled uint8 images, in memory or in a mapped file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
