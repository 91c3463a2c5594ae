"""Modules that a name asks for, `MODULE:NAME`, from the current directory or what is installed."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from metarlhf.errors import MissingModuleError


def module(name: str) -> ModuleType:
    """The module called `name`, imported; it may lie in the current directory.

    Raises:
        MissingModuleError: there is none; what it imports in turn may be missing with other errors.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0] and error.name != name:
            raise
        raise MissingModuleError(
            f"there is no module {name!r} in {here} or among what is installed: expected "
            "MODULE:NAME, with MODULE as `import` knows it"
        ) from error
