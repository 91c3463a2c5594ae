"""A simulator outside the compiled program, as people are shown it in clips."""

from typing import NamedTuple

from metarlhf.envs.errors import SimulatorError
from metarlhf.envs.host import HostEnv
from metarlhf.envs.spaces import Box, Discrete

# Steps of a clip, unless somebody names another number: Lee et al. 2021 have as many.
SEGMENT_LENGTH = 50


class ShownEnv(NamedTuple):
    """A `Shown` of a simulator: a plain value, which outlives it."""

    name: str
    observation_space: Box
    action_space: Box | Discrete
    segment_length: int

    @staticmethod
    def of(env: HostEnv, segment_length: int = SEGMENT_LENGTH) -> "ShownEnv":
        """Of the simulator `env`, in clips of so many steps.

        Raises:
            SimulatorError: its observations, actions or episodes are none that a reward is learned
                from.
        """
        sees, does = env.observation_space, env.action_space
        if not isinstance(sees, Box) or not isinstance(does, Box | Discrete):
            raise SimulatorError(
                f"a reward is learned from observations that are vectors, and from one choice or a "
                f"vector of actions; {env.name} has {type(sees).__name__} and "
                f"{type(does).__name__}. Wrap it, for example in "
                "gymnasium.wrappers.FlattenObservation"
            )
        if env.horizon is not None and env.horizon < segment_length:
            raise SimulatorError(
                f"episodes of {env.name} have {env.horizon} steps at most, and clips are to have "
                f"{segment_length}: name a smaller --segment-length"
            )
        return ShownEnv(env.name, sees, does, segment_length)
