"""What is asked for: the configuration of a run and its identity, requests, recipes, YAML."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
