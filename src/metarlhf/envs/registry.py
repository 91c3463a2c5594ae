"""Environments by name: `make("reacher")`, `make_host("promp2018/AntDir")`, `connect("Ant-v5", 8)`.

Other people's simulators are extras: each is imported when it is named, and not before.
"""

import difflib
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Literal

import jax

from metarlhf.envs import naming
from metarlhf.envs.base import Environment, FilmedEnv, HostEnv, HostFamily, TaskFamily, Tasks
from metarlhf.envs.distributions import distribution
from metarlhf.envs.naming import META_WORLD, host_names, is_host, module, names, varied
from metarlhf.errors import MissingSimulatorError, SimulatorError, UnknownTaskError

_made: dict[Any, Environment] = {}
_made_hosts: dict[str, HostFamily] = {}


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


def knows(name: str) -> bool:
    """Whether `make` has an environment of this name; a module that it names is imported."""
    try:
        _factory(name)
    except UnknownTaskError:
        return False
    return True


def make_host(name: str) -> HostFamily:
    """The family of host simulators called `name`; the same object each time.

    Raises:
        UnknownTaskError: there is none.
        MissingSimulatorError: MuJoCo, or Meta-World, is not installed.
    """
    if not is_host(name):
        raise UnknownTaskError(
            f"no family of simulators is called {name!r}. Known are: {', '.join(host_names())}, "
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
                else f"Families are: {', '.join(other for other in names() if other != name)}."
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
    if name not in naming.FACTORIES and ":" in name:
        module(name.partition(":")[0])
    if name not in naming.FACTORIES:
        close = difflib.get_close_matches(name, (*names(), *host_names()), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownTaskError(
            f"no task family is called {name!r}.{hint} Known are: {', '.join(names())}, and "
            "those of simulators that metarlhf tasks lists; your own is called MODULE:NAME, which "
            "MODULE.py hands to metarlhf.envs.register."
        )
    return naming.FACTORIES[name]


def connect(
    name: str, num_envs: int, workers: Literal["sync", "async"] = "sync", seeded: bool = False
) -> HostEnv:
    """`num_envs` environments that step together; close them when done.

    `name` is `envpool:` and an EnvPool id, or a Gymnasium id, with `module:` before it where a
    module registers it. `workers` says whether Gymnasium's step in this process, one after the
    other, or in processes of their own; EnvPool has threads. What Gymnasium's `seeded` environments
    did can be seen again (`envs.replays`).

    Raises:
        UnknownTaskError: no such environment; the message names what is close.
        MissingSimulatorError: the simulator is not installed; the message says what would do it.
        SimulatorError: its observations or actions are of a kind that no network here fits.
    """
    if name.startswith("envpool:"):
        if seeded:
            raise SimulatorError(f"{name} cannot be seen again: EnvPool's environments do not draw")
        try:
            from metarlhf.envs.adapters.envpool import FromEnvPool
        except ImportError as error:
            raise MissingSimulatorError("envpool", "envpool", error) from error
        return FromEnvPool(name.removeprefix("envpool:"), num_envs)
    return _gymnasium().connect(name, num_envs, workers, seeded)


def film(name: str) -> FilmedEnv:
    """One environment, of a Gymnasium id as above, that can be looked at; close it when done.

    Raises:
        UnknownTaskError, MissingSimulatorError: see `connect`.
        SimulatorError: it does not draw itself, or cannot here; the message says what would do it.
    """
    if name.startswith("envpool:"):
        raise SimulatorError(f"{name} cannot be filmed: EnvPool's environments do not draw")
    return _gymnasium().film(name)


def _gymnasium() -> ModuleType:
    try:
        from metarlhf.envs.adapters import gymnasium as adapter
    except ImportError as error:
        raise MissingSimulatorError("gymnasium", "gym", error) from error
    return adapter
