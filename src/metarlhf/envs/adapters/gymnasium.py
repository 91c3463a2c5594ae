"""Any Gymnasium environment, or vector environment, as a `HostEnv`."""

import difflib
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import gymnasium
import jax
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from jaxtyping import UInt8

from metarlhf.envs.adapters.gymnasium_spaces import (
    action_space,
    observation_space,
    seen_last,
    to_action,
    to_observation,
)
from metarlhf.envs.adapters.processes import AsyncEnvs
from metarlhf.envs.adapters.replays import episode_seed
from metarlhf.envs.base import HostEnv, HostObservation, HostStep, host_step
from metarlhf.envs.naming import module
from metarlhf.errors import MissingSimulatorError, SimulatorError, UnknownTaskError

Workers = Literal["sync", "async"]


class FromGymnasium:
    """A `HostEnv` out of a vector environment of any autoreset mode.

    SAME_STEP resets by itself and gives the final observation beside. With the other two an
    episode's end is followed by a reset of just those environments (`reset_mask`), so that neither
    DISABLED has to be waited for, nor NEXT_STEP ever gets to spend a step on it.
    """

    def __init__(self, envs: VectorEnv, name: str, horizon: int | None = None):
        self.envs, self.name, self.horizon = envs, name, horizon
        self.num_envs = envs.num_envs
        self.observation_space = observation_space(envs.single_observation_space)
        self.action_space = action_space(envs.single_action_space)
        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._resets_itself = mode == AutoresetMode.SAME_STEP

    def reset(self, seed: int) -> HostObservation:
        return self._seen(self.envs.reset(seed=seed)[0])

    def step(self, actions: np.ndarray) -> HostStep:
        told = to_action(self.envs.single_action_space, actions)
        obs, reward, terminated, truncated, info = self.envs.step(told)
        ended = np.asarray(terminated) | np.asarray(truncated)
        seen = self._seen(obs)
        if not ended.any():
            next_obs = obs = seen
        elif self._resets_itself:
            last = seen_last(self.envs, obs, info["final_obs"], ended)
            next_obs, obs = self._seen(last), seen
        else:
            next_obs, obs = seen, self._reset_those(ended, seen)
        return host_step(next_obs, obs, reward, terminated, truncated)

    def close(self) -> None:
        self.envs.close()

    def _seen(self, obs: Any) -> HostObservation:
        return to_observation(self.envs.single_observation_space, obs)

    def _reset_those(self, ended: np.ndarray, seen: HostObservation) -> HostObservation:
        """Begin an episode where one ended.

        Raises:
            SimulatorError: others were reset as well.
        """
        obs = self._seen(self.envs.reset(options={"reset_mask": ended.copy()})[0])
        same = lambda new, old: np.array_equal(new[~ended], old[~ended], equal_nan=True)
        if not all(jax.tree.leaves(jax.tree.map(same, obs, seen))):
            raise SimulatorError(
                f"the vector environment of {self.name} reset episodes that had not ended: its "
                "reset must heed options['reset_mask'], or it must be made with "
                "autoreset_mode=AutoresetMode.SAME_STEP"
            )
        return obs


class Filmed(FromGymnasium):
    """One environment that draws itself."""

    def __init__(self, envs: VectorEnv, name: str, horizon: int | None = None):
        super().__init__(envs, name, horizon)
        self.frames_per_second = float(envs.metadata.get("render_fps") or 30.0)

    def frame(self) -> UInt8[np.ndarray, "height width 3"]:
        """How it looks now.

        Raises:
            SimulatorError: it cannot be drawn, as where there is no OpenGL.
        """
        with _drawing(self.name):
            frames: Any = self.envs.render()
            return np.array(frames[0], np.uint8)


def film(name: str) -> Filmed:
    """One environment of the id `name`, made so that it draws itself.

    Raises:
        UnknownTaskError, MissingSimulatorError: see `connect`.
        SimulatorError: it cannot be drawn, or not as pictures.
    """
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        # What MuJoCo and pygame try first draws on screens, of which there is none.
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")  # nobody listens
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    spec = _spec(name)
    make = partial(gymnasium.make, spec, disable_env_checker=True, render_mode="rgb_array")
    with _drawing(name), _makes(name):
        _must_draw(name, spec)
        envs = SyncVectorEnv([make], copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    return Filmed(envs, name, spec.max_episode_steps)


def _must_draw(name: str, spec: Any) -> None:
    """Refuse what says that it does not draw; what is made by a function says nothing."""
    entry = spec.entry_point
    made_by = load_env_creator(entry) if isinstance(entry, str) else entry
    modes = getattr(made_by, "metadata", {"render_modes": ["rgb_array"]}).get("render_modes") or ()
    if "rgb_array" not in modes:
        raise SimulatorError(
            f"{name} does not draw itself: expected 'rgb_array' among its render_modes, which are "
            f"{', '.join(map(str, modes)) or 'none'}"
        )


@contextmanager
def _drawing(name: str) -> Iterator[None]:
    """One error for all that can be wrong with drawing; libraries have their own kinds of them."""
    hook = sys.unraisablehook
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (SimulatorError, KeyboardInterrupt):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        # What a viewer that was never whole says when it goes would be a traceback of its own.
        sys.unraisablehook = lambda _: None
        error.__traceback__ = None
        gc.collect()
        how = ""
        if any(word in text for word in ("GL", "gl", "MUJOCO")):
            how = (
                ". Without a screen MuJoCo draws with MUJOCO_GL=egl, which needs libegl1, or with "
                "MUJOCO_GL=osmesa, which needs libosmesa6: set it before the command"
            )
        raise SimulatorError(f"{name} cannot be drawn here: {text}{how}") from None
    finally:
        sys.unraisablehook = hook


class Seeded(gymnasium.Wrapper):
    """Begins every episode from a seed of its own, by which it can be seen again."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._first, self._episode = 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        if seed is not None:
            self._first, self._episode = seed, 0
        else:
            self._episode += 1
        return super().reset(seed=episode_seed(self._first, self._episode), options=options)


def _make(spec: Any, seeded: bool) -> gymnasium.Env:
    env = gymnasium.make(spec, disable_env_checker=True)
    return Seeded(env) if seeded else env


def connect(name: str, num_envs: int, workers: Workers = "sync", seeded: bool = False) -> HostEnv:
    """`num_envs` environments of the id `name`, in this process or in one for each core.

    A name `module:id` imports the module first, also one that lies in the current directory. What
    is `seeded` can be seen again (`envs.replays`).

    Raises:
        UnknownTaskError: no such id; the message names what is close.
        MissingSimulatorError: the environment needs something that is not installed.
    """
    spec = _spec(name)
    # A specification goes to other processes whole; an id would have to be registered there again.
    make = partial(_make, spec, seeded)
    with _makes(name):
        if workers == "async":
            return AsyncEnvs(make, num_envs, name, spec.max_episode_steps)
        # Nothing is copied twice: `to_observation` copies what it gives.
        envs = SyncVectorEnv([make] * num_envs, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    return FromGymnasium(envs, name, spec.max_episode_steps)


@contextmanager
def _makes(name: str) -> Iterator[None]:
    """What is wrong with making environments, said so that it can be mended."""
    try:
        yield
    except gymnasium.error.DependencyNotInstalled as error:
        if "mujoco" in str(error).lower():
            raise MissingSimulatorError("MuJoCo", "mujoco") from error
        raise SimulatorError(f"{name} cannot be made: {error}") from error
    except (gymnasium.error.Error, ImportError) as error:
        raise SimulatorError(f"{name} cannot be made: {error}") from error


def _spec(name: str) -> Any:
    in_module, _, identifier = name.rpartition(":")
    if in_module:
        module(in_module)
    try:
        return gymnasium.spec(identifier)
    except gymnasium.error.Error as error:
        close = difflib.get_close_matches(identifier, gymnasium.registry, n=3, cutoff=0.5)
        hint = f" Close are: {', '.join(close)}." if close else ""
        raise UnknownTaskError(
            f"Gymnasium knows no environment {identifier!r}.{hint} Your own is named "
            "MODULE:ID, where importing MODULE registers ID"
        ) from error
