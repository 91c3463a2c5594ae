"""Other people's simulators by name: `HalfCheetah-v5`, `module:Mine-v0`, `envpool:Ant-v5`.

Each is an extra, imported when one is named and not before.
"""

from types import ModuleType
from typing import Literal

from metarlhf.envs.base import FilmedEnv, HostEnv
from metarlhf.errors import MissingSimulatorError, SimulatorError


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
