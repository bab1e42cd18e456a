"""Seeds are added until every method's difference to a baseline is decided, or there are enough of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
