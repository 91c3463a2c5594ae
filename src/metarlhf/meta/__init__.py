"""Meta-learning: a prior from a family of tasks, and teaching new tasks from it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
