"""Renderings of stored runs beside tables: figures, the HTML report, and text about a run or a method."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
