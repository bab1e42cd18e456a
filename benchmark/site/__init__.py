"""Leaderboards and methods as a site of static pages that needs no network and no server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
