"""What a run has shown, as one page that anyone can read and one picture for a README."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
