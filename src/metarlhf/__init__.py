"""Teach an agent a new task in one minute of your time.

What is listed in `__init__.pyi` is imported when it is used: `import metarlhf` alone loads no JAX.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
