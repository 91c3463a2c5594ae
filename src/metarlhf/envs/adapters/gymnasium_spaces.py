"""Gymnasium's spaces as ours, and what is observed and done from one to the other.

`to_observation` and `to_action` take NumPy's arrays or, as `xp`, JAX's, with any leading
dimensions. Vectors become float32, categories one-hot vectors, pictures stay as they are but for
their channels, which come last.
"""

from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import spaces as theirs
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from metarlhf.envs.spaces import (
    ActionSpace,
    Bound,
    Box,
    Discrete,
    Image,
    MultiBinary,
    MultiDiscrete,
    ObservationSpace,
    Parts,
)
from metarlhf.errors import SimulatorError

# The narrowest picture that a convolution of ours fits into; what is smaller is a vector.
NARROWEST = 3


def observation_space(space: theirs.Space) -> ObservationSpace:
    """What an agent sees of `space`.

    Raises:
        SimulatorError: text, graphs and sequences, which no network here can read.
    """
    parts = _parts(space)
    if parts is not None:
        return Parts(tuple(parts), tuple(observation_space(part) for part in parts.values()))
    if isinstance(space, theirs.Box):
        picture = _picture(space)
        if picture is not None:
            return Image(picture, str(space.dtype) if space.dtype == np.uint8 else "float32")
        low, high = space.low, space.high
        return Box(int(np.prod(space.shape)), _bound(low), _bound(high), _names("obs", low.size))
    if isinstance(space, theirs.Discrete):
        size = int(space.n)
    elif isinstance(space, theirs.MultiDiscrete):
        size = int(space.nvec.sum())
    elif isinstance(space, theirs.MultiBinary):
        size = int(np.prod(space.shape))
    else:
        raise SimulatorError(
            f"observations of {space} are not supported: expected Box, Discrete, MultiDiscrete, "
            "MultiBinary, or Dict and Tuple of those. Wrap the environment, for example in "
            "gymnasium.wrappers.TransformObservation"
        )
    return Box(size, 0.0, 1.0, _names("obs", size))


def action_space(space: theirs.Space) -> ActionSpace:
    """What an agent can do in `space`.

    Raises:
        SimulatorError: another kind, or a Box without bounds, whose scale nobody could guess.
    """
    if isinstance(space, theirs.Box):
        if not space.is_bounded():
            raise SimulatorError(
                f"actions in {space} have no bounds: expected finite ones, which say how far a "
                "policy has to reach. Wrap the environment in gymnasium.wrappers.TransformAction"
            )
        size = int(np.prod(space.shape))
        return Box(size, _bound(space.low), _bound(space.high), _names("action", size))
    if isinstance(space, theirs.Discrete):
        return Discrete(int(space.n), _names("action", int(space.n)))
    if isinstance(space, theirs.MultiDiscrete):
        sizes = tuple(map(int, space.nvec.ravel()))
        return MultiDiscrete(sizes, _names("action", len(sizes)))
    if isinstance(space, theirs.MultiBinary):
        size = int(np.prod(space.shape))
        return MultiBinary(size, _names("switch", size))
    raise SimulatorError(
        f"actions in {space} are not supported: expected Box, Discrete, MultiDiscrete or "
        "MultiBinary. Wrap the environment in gymnasium.wrappers.TransformAction"
    )


def to_observation(space: theirs.Space, obs: Any, xp: ModuleType = np) -> Any:
    """What an agent sees where Gymnasium says `obs`; always a copy."""
    parts = _parts(space)
    if parts is not None:
        mapping = isinstance(obs, dict)
        keys = [name if mapping else int(name) for name in parts]
        return {
            name: to_observation(part, obs[key], xp)
            for key, (name, part) in zip(keys, parts.items(), strict=True)
        }
    if isinstance(space, theirs.Box) and _picture(space) is not None:
        picture = observation_space(space)
        assert isinstance(picture, Image)
        obs = xp.asarray(obs)
        obs = obs.reshape(*obs.shape, 1) if len(space.shape) == 2 else obs
        obs = xp.moveaxis(obs, -3, -1) if _channels_first(space) else obs
        return xp.array(obs, dtype=picture.dtype)
    if isinstance(space, theirs.Discrete):
        return xp.eye(int(space.n), dtype=np.float32)[xp.asarray(obs) - int(space.start)]
    if isinstance(space, theirs.MultiDiscrete):
        chosen = _flat(space, xp.asarray(obs) - np.asarray(space.start))
        hot = [xp.eye(n, dtype=np.float32)[chosen[..., i]] for i, n in enumerate(_sizes(space))]
        return xp.concatenate(hot, axis=-1)
    return xp.array(_flat(space, xp.asarray(obs)), dtype=np.float32)


def seen_last(envs: VectorEnv, obs: Any, final_obs: Any, ended: np.ndarray) -> Any:
    """A batch of what every environment saw before any reset, as Gymnasium has it.

    `final_obs` is theirs where one `ended`. By the space, as an environment may say the same in a
    dictionary of another order.
    """
    space, each = envs.single_observation_space, []
    for env, own in enumerate(iterate(envs.observation_space, obs)):
        each.append(final_obs[env] if ended[env] else own)
    return concatenate(space, each, create_empty_array(space, envs.num_envs))


def to_action(space: theirs.Space, action: Any, xp: ModuleType = np) -> Any:
    """What Gymnasium wants to be told where an agent does `action`."""
    # JAX has no int64, and its simulators do without.
    typed = (lambda x: x.astype(space.dtype)) if xp is np else (lambda x: x)
    if isinstance(space, theirs.Box):
        shaped = action.reshape(*action.shape[:-1], *space.shape)
        # A policy's end of the range may lie a rounding error beyond the simulator's.
        return typed(xp.clip(shaped, space.low, space.high))
    if isinstance(space, theirs.Discrete):
        return typed(action) + int(space.start)
    shape = space.shape
    assert shape is not None
    shaped = typed(action.reshape(*action.shape[:-1], *shape))
    return shaped + space.start if isinstance(space, theirs.MultiDiscrete) else shaped


def _parts(space: theirs.Space) -> dict[str, theirs.Space] | None:
    if isinstance(space, theirs.Dict):
        return dict(space.spaces)
    if isinstance(space, theirs.Tuple):
        return {str(i): part for i, part in enumerate(space.spaces)}
    return None


def _picture(space: theirs.Box) -> tuple[int, int, int] | None:
    """Height, width and channels; None for what is no picture."""
    if len(space.shape) == 3:
        first, second, third = space.shape
        shape = (second, third, first) if _channels_first(space) else (first, second, third)
    elif len(space.shape) == 2 and space.dtype == np.uint8:
        shape = (*space.shape, 1)
    else:
        return None
    return shape if min(shape[:2]) >= NARROWEST else None


def _channels_first(space: theirs.Box) -> bool:
    """As stacked frames come: nothing in a space says so but that channels are fewest."""
    return len(space.shape) == 3 and space.shape[0] < min(space.shape[1:])


def _flat(space: theirs.Space, x: Any) -> Any:
    shape = space.shape
    assert shape is not None
    return x.reshape(*x.shape[: x.ndim - len(shape)], -1)


def _sizes(space: theirs.MultiDiscrete) -> list[int]:
    return [int(n) for n in space.nvec.ravel()]


def _bound(bound: np.ndarray) -> Bound:
    """One number where all are the same."""
    values = tuple(map(float, bound.ravel()))
    return values[0] if len(set(values)) == 1 else values


def _names(what: str, count: int) -> tuple[str, ...]:
    return tuple(f"{what} {i}" for i in range(count))
