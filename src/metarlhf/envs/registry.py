"""Environments by name: `make("reacher")`, `make("gymnax:Pendulum-v1")`.

What varies in a family of Gymnax's is part of its name: `gymnax:Pendulum-v1?g=uniform(5,15)`. A
user's own joins with `register(name, factory)`.
"""

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax

from metarlhf.envs.base import Environment, HostFamily, TaskFamily, Tasks
from metarlhf.envs.cartpole import CartPole
from metarlhf.envs.distributions import Distribution, distribution
from metarlhf.envs.errors import MissingSimulatorError, UnknownTaskError, VariationError
from metarlhf.envs.modules import module
from metarlhf.envs.navigation import Hazard, Navigation
from metarlhf.envs.pendulum import Pendulum
from metarlhf.envs.reacher import Reacher

BODIES = ("Walker2DRandParams", "HopperRandParams")
_factories: dict[str, Callable[..., Environment]] = {
    "navigation": Navigation,
    "navigation/finn2017": lambda **options: Navigation("finn2017", **options),
    "navigation/pearl2019": lambda **options: Navigation("pearl2019", **options),
    "navigation/hazard": Hazard,
    "reacher": Reacher,
    "pendulum": Pendulum,
    "cartpole": CartPole,
}
_made: dict[Any, Environment] = {}
# Known by name without MuJoCo; what they are exactly is in `mujoco_tasks.lineages`.
HOST_FAMILIES = tuple(
    f"{lineage}/{task}"
    for lineage, tasks in {
        "finn2017": ("HalfCheetahVel", "HalfCheetahDir", "AntVel", "AntDir", "AntGoal"),
        "promp2018": ("HalfCheetahVel", "HalfCheetahDir", "AntDir", "AntGoal", *BODIES),
        "pearl2019": ("HalfCheetahVel", "HalfCheetahDir", "AntDir", "AntGoal", *BODIES),
    }.items()
    for task in tasks
)
META_WORLD = "metaworld/"
_made_hosts: dict[str, HostFamily] = {}


def names() -> tuple[str, ...]:
    """Every name that `make` knows, in the order of registration."""
    return tuple(_factories)


def make(name: str, **options: Any) -> Environment:
    """The environment called `name`; `options` go to its constructor.

    After `gymnax:` comes the name of any Gymnax environment, whose options are its parameters; what
    may follow a `?` varies from task to task (see `varied`). For any other `MODULE:NAME` the module
    is imported, which registers it by that whole name. The same name and options give the same
    object: programs compiled for it are found again.

    Raises:
        UnknownTaskError: no such name; the message lists those there are. Of that kind is
            VariationError: what the name says to vary cannot vary, or not so.
        MissingSimulatorError: Gymnax is not installed.
        ValueError: an option that the environment does not have or does not accept.
    """
    name = varied(name)
    call = (name, repr(sorted(options.items())))
    if call not in _made:
        factory = _factory(name)
        try:
            # Also where it is first asked for while something else is traced: a prior's shapes.
            with jax.ensure_compile_time_eval():
                _made[call] = factory(**options)
        except TypeError as error:
            raise ValueError(
                f"the environment {name!r} does not take the options {options}: {error}"
            ) from error
    return _made[call]


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
    found: dict[str, Distribution] = {}
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


def knows(name: str) -> bool:
    """Whether `make` has an environment of this name; a module that it names is imported."""
    try:
        _factory(name)
    except UnknownTaskError:
        return False
    return True


def host_names() -> tuple[str, ...]:
    """Every family whose simulators step outside the compiled program, by name."""
    return HOST_FAMILIES


def is_host(name: str) -> bool:
    """Whether a name is one for `make_host`: one of `host_names`, or one of Meta-World's."""
    return name in HOST_FAMILIES or name.startswith(META_WORLD)


def make_host(name: str) -> HostFamily:
    """The family called `name` whose simulators step outside the compiled program; one of each.

    Raises:
        UnknownTaskError: there is none.
        MissingSimulatorError: MuJoCo, or Meta-World, is not installed.
    """
    if not is_host(name):
        raise UnknownTaskError(
            f"no family of simulators is called {name!r}. Known are: {', '.join(HOST_FAMILIES)}, "
            "metaworld/ML10, metaworld/ML45 and metaworld/ML1-NAME"
        )
    if name not in _made_hosts:
        extra = "metaworld" if name.startswith(META_WORLD) else "mujoco"
        try:
            if extra == "metaworld":
                from metarlhf.envs.adapters.meta_world import MetaWorld

                _made_hosts[name] = MetaWorld(name)
            else:
                from metarlhf.envs.adapters.mujoco_families import family

                _made_hosts[name] = family(name)
        except ImportError as error:
            raise MissingSimulatorError(extra, extra, error) from error
    return _made_hosts[name]


def find(name: str) -> Environment | HostFamily:
    """Whatever is called `name`, see `make` and `make_host`."""
    return make_host(name) if is_host(name) else make(name)


def make_family(name: str, **options: Any) -> TaskFamily:
    """As `make`, of a family of tasks that a teacher can judge.

    Raises:
        UnknownTaskError: besides, where there is such an environment, but it is no family.
    """
    family = make(name, **options)
    if not isinstance(family, TaskFamily):
        missing = [member for member in _members(TaskFamily) if not hasattr(family, member)]
        raise UnknownTaskError(
            f"{name!r} is an environment, but no task family, which a teacher can judge: it lacks "
            f"{', '.join(missing)} (see metarlhf.envs.TaskFamily). "
            + (
                "Say what varies from task to task: --vary PARAMETER=uniform(LOW,HIGH)."
                if name.startswith("gymnax:")
                else f"Families are: {', '.join(other for other in _factories if other != name)}."
            )
        )
    return family


def check_name(family: Tasks) -> None:
    """Refuse a family that `make` would not give back by its name.

    What is published keeps the name alone: read back, it would silently be of another family.

    Raises:
        ValueError: its options are not the defaults, or it is not registered.
    """
    found = find(family.name)
    known = [found, found.without_termination() if isinstance(found, TaskFamily) else found]
    if _options(family) not in [_options(one) for one in known]:
        raise ValueError(
            f"{family.name!r} is the name of another environment than this one, which has options "
            "of its own: give yours a name, and metarlhf.envs.register what makes it"
        )


def _options(family: Tasks) -> tuple[type, str]:
    """What an environment was made with: its class and public attributes."""
    return type(family), repr({k: v for k, v in vars(family).items() if not k.startswith("_")})


def _members(protocol: type) -> list[str]:
    """What a class must have to be of `protocol`."""
    bases = [base for base in protocol.__mro__ if base is not object]
    found = [
        name for base in bases for name in (*getattr(base, "__annotations__", ()), *vars(base))
    ]
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def _factory(name: str) -> Callable[..., Environment]:
    if name.startswith("gymnax:"):
        try:
            from metarlhf.envs.adapters.gymnax import FromGymnax, GymnaxFamily
        except ImportError as error:
            raise MissingSimulatorError("gymnax", "gymnax", error) from error
        identifier, varies, said = name.removeprefix("gymnax:").partition("?")
        if not varies:
            return partial(FromGymnax, identifier)
        each = (word.partition("=") for word in said.split("&"))
        return partial(GymnaxFamily, identifier, {n: distribution(d) for n, _, d in each})
    if is_host(name):
        raise UnknownTaskError(
            f"the simulators of {name} step outside the compiled program, where metarlhf "
            "meta-train and evaluate play alone (metarlhf.envs.make_host); PPO by itself takes "
            "Gymnasium's own: metarlhf ppo --env HalfCheetah-v5"
        )
    if name not in _factories and ":" in name:
        module(name.partition(":")[0])
    if name not in _factories:
        close = difflib.get_close_matches(name, (*_factories, *HOST_FAMILIES), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownTaskError(
            f"no task family is called {name!r}.{hint} Known are: {', '.join(_factories)}, and "
            "those of simulators that metarlhf tasks lists; your own is called MODULE:NAME, which "
            "MODULE.py hands to metarlhf.envs.register."
        )
    return _factories[name]


def register(name: str, factory: Callable[..., Environment]) -> None:
    """Make an environment of your own known as `name`: `factory(**options)` must return it.

    What `metarlhf tasks` lists and a teacher judges has to be a `TaskFamily`.

    Raises:
        ValueError: the name is taken.
    """
    if name in _factories:
        raise ValueError(f"a task family {name!r} is registered already; choose another name")
    _factories[name] = factory
