"""Task families by name: `make("reacher")`. A user's own joins with `register(name, factory)`."""

import difflib
from collections.abc import Callable
from typing import Any

from metarlhf.envs.base import TaskFamily
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.navigation import Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher


class UnknownTaskError(ValueError):
    """No task family of that name is registered."""


_factories: dict[str, Callable[..., TaskFamily]] = {
    "navigation": Navigation,
    "navigation/finn2017": lambda **options: Navigation("finn2017", **options),
    "navigation/pearl2019": lambda **options: Navigation("pearl2019", **options),
    "reacher": Reacher,
    "pendulum": Pendulum,
    "cartpole": CartPole,
}
_made: dict[Any, TaskFamily] = {}


def names() -> tuple[str, ...]:
    """Every name that `make` knows, in the order of registration."""
    return tuple(_factories)


def make(name: str, **options: Any) -> TaskFamily:
    """The task family called `name`; `options` go to its constructor.

    The same name and options give the same object: programs compiled for it are found again.

    Raises:
        UnknownTaskError: no such name; the message lists those there are.
        ValueError: an option that the family does not have or does not accept.
    """
    if name not in _factories:
        close = difflib.get_close_matches(name, _factories, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownTaskError(
            f"no task family is called {name!r}.{hint} Known are: {', '.join(_factories)}."
        )
    call = (name, repr(sorted(options.items())))
    if call not in _made:
        try:
            _made[call] = _factories[name](**options)
        except TypeError as error:
            raise ValueError(
                f"the task family {name!r} does not take the options {options}: {error}"
            ) from error
    return _made[call]


def register(name: str, factory: Callable[..., TaskFamily]) -> None:
    """Make a task family of your own known as `name`: `factory(**options)` must return it.

    Raises:
        ValueError: the name is taken.
    """
    if name in _factories:
        raise ValueError(f"a task family {name!r} is registered already; choose another name")
    _factories[name] = factory
