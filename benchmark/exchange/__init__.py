"""Runs that change hands: bundles of them, submissions, and repeating what others have measured."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
