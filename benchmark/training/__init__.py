"""One run: networks, batches and optimiser steps, evaluation, checkpoints, and what it costs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
