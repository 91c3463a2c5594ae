"""Which clips may be asked about: those of the last rounds, half of each shared with the next."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from metarlhf.envs.base import Shown, TaskFamily
from metarlhf.feedback import blank, cut
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.types import Segment, Trajectory


class Candidates(NamedTuple):
    """Clips of the last few rounds, and which of them may be shown."""

    clips: Segment
    showable: Bool[Array, " clip"]


def clips_of(trajectory: Trajectory | None, family: Shown) -> Candidates:
    """Its clips, half of each shared with the next."""
    if trajectory is None:
        return Candidates(blank(family, 0), jnp.zeros(0, bool))
    return Candidates(*cut(trajectory, family.segment_length, stride(family)))


def remember(old: Candidates, new: Candidates) -> Candidates:
    """The newest clips that there is room for."""
    room = old.showable.shape[0]
    return jax.tree.map(lambda a, b: jnp.concatenate([b, a])[:room], old, new)


def check_steps(family: Shown, config: RLHFConfig) -> None:
    """Refuse to play less between two updates than a clip has.

    Raises:
        ValueError: it is.
    """
    if config.ppo.num_steps < family.segment_length:
        raise ValueError(
            f"ppo.num_steps is {config.ppo.num_steps}, but clips of {family.name} have "
            f"{family.segment_length} steps: play at least so many between two updates"
        )


def clips_in_a_round(family: Shown, config: RLHFConfig) -> int:
    """Of what an update learns from."""
    return config.ppo.num_envs * _clips_in(config.ppo.num_steps, family)


def clips_in_episodes(family: TaskFamily, config: RLHFConfig) -> int:
    """Of episodes that are played to be asked about."""
    return config.ask_envs * _clips_in(family.horizon, family)


def _clips_in(num_steps: int, family: Shown) -> int:
    return (num_steps - family.segment_length) // stride(family) + 1


def stride(family: Shown) -> int:
    """Steps from one clip's beginning to the next one's."""
    return max(1, family.segment_length // 2)
