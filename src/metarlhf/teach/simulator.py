"""Host simulators whose episodes people see in films, made from a seed and the actions."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal

import jax.numpy as jnp
import numpy as np

from metarlhf.envs import Discrete, HostEnv, connect, film
from metarlhf.envs.adapters.replays import Remembered, Replay
from metarlhf.envs.base import ShownEnv
from metarlhf.errors import UserError
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.state import clip_stride, clips_in_rollout
from metarlhf.sampling import HostSampler

# Steps of an episode that are filmed: a film of a thousand takes long to make.
_FILMED = 200
# Steps that a simulator must do again in the same way before anything is learned in it.
_TRIED = 20


class Replays:
    """How to see again what a host simulator did, for films.

    Args:
        env: where the agent acts.
        show_env: where its mode is shown.
        shown: what people are shown of it.
    """

    def __init__(self, env: Remembered, show_env: Remembered, shown: ShownEnv):
        self.env, self.show_env, self.shown = env, show_env, shown

    def forget(self, config: RLHFConfig) -> None:
        """Before the next trajectory: forget what may be asked about no more."""
        self.env.forget(self.env.steps - (config.remembered_rounds - 1) * config.ppo.num_steps)

    def clip(self, number: int, config: RLHFConfig) -> Replay:
        """How to see a clip again, by its number among those that may be asked about.

        They are numbered from the newest trajectory's on, by environment.
        """
        length, steps = self.shown.segment_length, config.ppo.num_steps
        clips = clips_in_rollout(self.shown, config)
        rounds_ago, within = divmod(number, clips)
        env, start = divmod(within, clips // self.env.num_envs)
        step = self.env.steps - (rounds_ago + 1) * steps + start * clip_stride(self.shown)
        return self.env.replay(env, step, length)

    def episode(self, length: int) -> Replay:
        """How to see again the episode of so many steps that was shown last: its first steps."""
        return self.show_env.replay(0, 0, min(length, _FILMED))


@contextmanager
def filmed_simulator(
    name: str, num_envs: int, workers: Literal["sync", "async"], segment_length: int
) -> Iterator[tuple[HostSampler, Replays]]:
    """Who acts in a simulator that people are shown films of, while it runs.

    Args:
        name: as `envs.connect` takes it.
        num_envs: environments to act in.
        workers: where they step, see `envs.connect`.
        segment_length: steps of a clip.

    Raises:
        SimulatorError: there is none, or it does not draw itself here.
        UserError: nobody could be shown films of it, see `check_can_be_filmed`.
    """
    with (
        closing(connect(name, num_envs, workers, seeded=True)) as env,
        closing(connect(name, 1, seeded=True)) as show_env,
    ):
        shown = ShownEnv.of(env, segment_length)
        check_can_be_filmed(name, show_env)
        env, show_env = Remembered(env), Remembered(show_env)
        yield HostSampler(env, show_env, shown), Replays(env, show_env, shown)


def check_can_be_filmed(name: str, env: HostEnv) -> None:
    """Refuse a simulator that nobody could be shown films of.

    Args:
        name: as `envs.film` takes it.
        env: one of it, with seeds.

    Raises:
        SimulatorError: it does not draw itself here.
        UserError: it never does the same again, or goes on for ever.
    """
    with closing(film(name)) as filmed:
        filmed.reset(0)
        filmed.frame()
    if env.horizon is None:
        raise UserError(
            f"{name} has no time limit, and a film would have to begin with the first of any "
            "number of steps: register it with max_episode_steps, for example 1000"
        )
    rng = np.random.default_rng(0)
    space = env.action_space
    raw = rng.normal(size=(_TRIED, 1, space.size)).astype(np.float32)
    if isinstance(space, Discrete):
        raw = rng.integers(space.size, size=(_TRIED, 1))
    actions = np.asarray(space.from_unit(jnp.asarray(raw)))
    if not np.array_equal(_episode(env, actions), _episode(env, actions), equal_nan=True):
        raise UserError(
            f"{name} does something else each time, also from the same seed and by the same "
            "actions, so a film would not show what was done. All that is random in it must come "
            "from self.np_random, which reset(seed=...) sets"
        )


def _episode(env: HostEnv, actions: np.ndarray) -> np.ndarray:
    return np.stack([env.reset(1), *(env.step(action).next_obs for action in actions)])
