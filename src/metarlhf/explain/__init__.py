"""What a learned reward pays for, where, how sure it is, and why it says so. Pure functions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
