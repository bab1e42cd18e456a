"""What a person looks at beside tables: figures, the page, one run as text."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
