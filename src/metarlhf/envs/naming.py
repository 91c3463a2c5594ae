"""Names of environments: which there are, and what a name says. Nothing is made, nor JAX imported.

What varies in a family of Gymnax's is part of its name: `gymnax:Pendulum-v1?g=uniform(5,15)`. A
user's own joins with `register(name, factory)`.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from metarlhf.errors import MissingModuleError, VariationError


def _own(module: str, name: str, *variant: str) -> Callable[..., Any]:
    """What makes a family of this package: its module is imported when it does."""
    return lambda **options: getattr(import_module(module), name)(*variant, **options)


FACTORIES: dict[str, Callable[..., Any]] = {
    "navigation": _own("metarlhf.envs.navigation", "Navigation"),
    "navigation/finn2017": _own("metarlhf.envs.navigation", "Navigation", "finn2017"),
    "navigation/pearl2019": _own("metarlhf.envs.navigation", "Navigation", "pearl2019"),
    "navigation/hazard": _own("metarlhf.envs.navigation", "Hazard"),
    "reacher": _own("metarlhf.envs.reacher", "Reacher"),
    "pendulum": _own("metarlhf.envs.pendulum", "Pendulum"),
    "cartpole": _own("metarlhf.envs.cartpole", "CartPole"),
}
"""What makes the environment of each name, for `metarlhf.envs.make`."""

BODIES = ("Walker2DRandParams", "HopperRandParams")
HOST_FAMILIES = tuple(
    f"{lineage}/{task}"
    for lineage, tasks in {
        "finn2017": ("HalfCheetahVel", "HalfCheetahDir", "AntVel", "AntDir", "AntGoal"),
        "promp2018": ("HalfCheetahVel", "HalfCheetahDir", "AntDir", "AntGoal", *BODIES),
        "pearl2019": ("HalfCheetahVel", "HalfCheetahDir", "AntDir", "AntGoal", *BODIES),
    }.items()
    for task in tasks
)
"""Known by name without MuJoCo; what they are exactly is in `envs.adapters.mujoco_families`."""
META_WORLD = "metaworld/"
"""How names of Meta-World's families begin."""


def names() -> tuple[str, ...]:
    """Every name that `make` knows, in the order of registration."""
    return tuple(FACTORIES)


def varied(name: str, vary: Sequence[str] = ()) -> str:
    """The name of a family like `name` in which other parameters vary, too.

    Each of `vary` is PARAMETER=DISTRIBUTION: `uniform(LOW,HIGH)`, `log-uniform(LOW,HIGH)`,
    `choice(A,B,...)`, or one number for all tasks. However they are written, what is the same has
    the same name.

    Raises:
        VariationError: one is not of this form, or named twice, or `name` is not Gymnax's.
    """
    bare, mark, said = name.partition("?")
    words = (said.split("&") if mark else []) + list(vary)
    if words and not name.startswith("gymnax:"):
        raise VariationError(
            f"in {bare!r} varies what its family says: parameters are chosen of Gymnax's "
            "environments alone, such as gymnax:Pendulum-v1"
        )
    if not words:
        return bare
    from metarlhf.envs.distributions import distribution  # late: it draws numbers by JAX

    found: dict[str, Any] = {}
    for word in words:
        parameter, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not parameter or parameter in found:
            again = "is said twice" if parameter in found else "is not of that form"
            raise VariationError(
                f"what varies in {bare} is PARAMETER=DISTRIBUTION, such as g=uniform(5,15), each "
                f"once; {word!r} {again}"
            )
        found[parameter] = distribution(text)
    return bare + "".join(f"{'&' if i else '?'}{n}={d}" for i, (n, d) in enumerate(found.items()))


def host_names() -> tuple[str, ...]:
    """Every family of host simulators, by name."""
    return HOST_FAMILIES


def is_host(name: str) -> bool:
    """Whether a name is one for `make_host`: one of `host_names`, or one of Meta-World's."""
    return name in HOST_FAMILIES or name.startswith(META_WORLD)


def register(name: str, factory: Callable[..., Any]) -> None:
    """Make an environment of your own known as `name`: `factory(**options)` must return it.

    What `metarlhf tasks` lists and a teacher judges has to be a `TaskFamily`.

    Raises:
        ValueError: the name is taken.
    """
    if name in FACTORIES:
        raise ValueError(f"a task family {name!r} is registered already; choose another name")
    FACTORIES[name] = factory


def module(name: str) -> ModuleType:
    """The module of a name `MODULE:NAME`, imported; it may lie in the current directory.

    Raises:
        MissingModuleError: there is none; what it imports in turn may be missing with other errors.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0] and error.name != name:
            raise
        raise MissingModuleError(
            f"there is no module {name!r} in {here} or among what is installed: expected "
            "MODULE:NAME, with MODULE as `import` knows it"
        ) from error
