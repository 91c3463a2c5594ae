"""Young ideas, whole and tested: learned optimisers and drifts, and RL²."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
