"""What a machine has and is good for: looked over at once, or measured part by part within a limit of time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
