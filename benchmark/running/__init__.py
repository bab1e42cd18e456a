"""What ``bench run`` and ``benchmark.run`` do: resolve, skip what is finished, carry out the rest, print the table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
