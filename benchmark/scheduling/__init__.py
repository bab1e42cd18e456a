"""Many runs: side by side under Ray Tune, or one after the other in this process."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
