"""Loggers by name: what `--log` says."""

from collections.abc import Callable
from pathlib import Path

from metarlhf.envs.naming import module
from metarlhf.errors import UserError
from metarlhf.runs import Logger, TensorBoard


def logger(name: str, along: str = "step") -> Callable[[Path], Logger]:
    """What makes a logger of the run's directory: `tensorboard`'s, or `MODULE:NAME`.

    The module may lie in the current directory.

    Raises:
        UserError: there is none of that name; or, once called, what it makes is no logger.
    """
    if name == "tensorboard":
        return lambda run_dir: TensorBoard(run_dir / "tensorboard", along)
    in_module, _, attribute = name.partition(":")
    if not in_module or not attribute:
        raise UserError(
            f"no logger is called {name!r}: expected tensorboard, or MODULE:NAME for your own"
        )
    found = module(in_module)
    if not hasattr(found, attribute):
        raise UserError(f"the module {in_module!r} has no {attribute!r} for --log")

    def make(run_dir: Path) -> Logger:
        made = getattr(found, attribute)(run_dir)
        if not isinstance(made, Logger):
            raise UserError(
                f"{name} makes no logger: expected the methods begin, log and close of "
                "metarlhf.runs.Logger"
            )
        return made

    return make
