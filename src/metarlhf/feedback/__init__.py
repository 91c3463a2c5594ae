"""What people say: clips to show them, questions to ask, teachers that answer, answers kept."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
