"""Loggers by name: what `--log` says."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from metarlhf.runs import Logger, TensorBoard, UserError


def logger(name: str, along: str = "step") -> Callable[[Path], Logger]:
    """What makes a logger of the run's directory: `tensorboard`'s, or `MODULE:NAME`.

    The module may lie in the current directory.

    Raises:
        UserError: there is none of that name; or, once called, what it makes is no logger.
    """
    if name == "tensorboard":
        return lambda run_dir: TensorBoard(run_dir / "tensorboard", along)
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UserError(
            f"no logger is called {name!r}: expected tensorboard, or MODULE:NAME for your own"
        )
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0] and error.name != module:
            raise
        raise UserError(
            f"there is no module {module!r} in {here} or among what is installed: expected "
            "MODULE:NAME, with MODULE as `import` knows it"
        ) from error
    if not hasattr(found, attribute):
        raise UserError(f"the module {module!r} has no {attribute!r} for --log")

    def make(run_dir: Path) -> Logger:
        made = getattr(found, attribute)(run_dir)
        if not isinstance(made, Logger):
            raise UserError(
                f"{name} makes no logger: expected the methods begin, log and close of "
                "metarlhf.runs.Logger"
            )
        return made

    return make
