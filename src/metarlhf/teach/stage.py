"""Where an agent acts while people teach it: in the compiled program, or in a simulator beside it.

A lesson plays, practises and shows what the agent does without knowing which of them it is.
"""

from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf import rlhf
from metarlhf.envs import Shown
from metarlhf.envs.adapters.replays import Remembered, Replay
from metarlhf.envs.base import ShownEnv
from metarlhf.rlhf import RLHFConfig, RLHFState
from metarlhf.rlhf.loop import clips_in_a_round, learn, learns, look, stride
from metarlhf.sampling import CompiledSampler, HostSampler
from metarlhf.sampling.host import play_episode
from metarlhf.types import Trajectory

# Steps of an episode in a simulator that are shown: a film of a thousand takes long to make.
FILMED = 200


class Showing(NamedTuple):
    """What the agent does now, and what its reward says to it."""

    obs: Float[Array, "time obs"] | Float[np.ndarray, "time obs"]
    learned_return: Float[Array, ""]
    replay: Replay | None = None
    """How to see it again, in a simulator that draws it."""


@runtime_checkable
class Stage(Protocol):
    """Where the agent acts."""

    @property
    def shown(self) -> Shown:
        """What people see of it."""
        ...

    def look(
        self, key: PRNGKeyArray, state: RLHFState, config: RLHFConfig
    ) -> tuple[RLHFState, Trajectory | None]:
        """Let the agent play, and remember its clips to ask about."""
        ...

    def practise(
        self, state: RLHFState, trajectory: Trajectory | None, config: RLHFConfig
    ) -> RLHFState:
        """One update, from what was just played where that will do."""
        ...

    def show(self, key: PRNGKeyArray, state: RLHFState) -> Showing:
        """An episode of the policy's mode."""
        ...

    def restored(self, state: RLHFState) -> RLHFState:
        """A state that comes from a checkpoint, with all that it does not hold set up anew."""
        ...

    def replay(self, clip: int, config: RLHFConfig) -> Replay | None:
        """How to see a clip again, by its number among those to ask about; None: it is drawn."""
        ...


class CompiledStage:
    """A task of a compiled family."""

    def __init__(self, sampler: CompiledSampler):
        self.sampler = sampler.without_termination()
        self.shown = self.sampler.shown

    def look(self, key, state, config):
        return _look(key, state, self.sampler, config)

    def practise(self, state, trajectory, config):
        return _practise(state, trajectory, self.sampler, config)

    def show(self, key, state):
        return _show(key, state, self.sampler)

    def restored(self, state):
        return state

    def replay(self, clip, config):
        return None


class HostStage:
    """A host simulator, and another one of it to show episodes in; both remember what was done."""

    def __init__(self, env: Remembered, show_env: Remembered, shown: ShownEnv):
        self.env, self.show_env, self.shown = env, show_env, shown
        self.sampler = HostSampler(env, show_env, shown)

    def look(self, key, state, config):
        self.env.forget(self.env.steps - (config.remembered_rounds - 1) * config.ppo.num_steps)
        return look(key, state, self.sampler, config)

    def practise(self, state, trajectory, config):
        return _learn(state, trajectory, config)

    def show(self, key, state):
        obs, action = play_episode(key, self.show_env, state.ppo.agent.actor, deterministic=True)
        paid = _learned_return(state, *_padded((obs, action), self.show_env.horizon), len(obs))
        seen = min(len(obs), FILMED)
        return Showing(obs[:seen], paid, self.show_env.replay(0, 0, seen))

    def restored(self, state):
        return rlhf.restart(state, self.sampler)

    def replay(self, clip, config):
        """Clips are numbered as `look` remembers them: newest trajectory first, by environment."""
        length, steps = self.shown.segment_length, config.ppo.num_steps
        each = clips_in_a_round(self.shown, config)
        rounds_ago, within = divmod(clip, each)
        env, start = divmod(within, each // self.env.num_envs)
        step = self.env.steps - (rounds_ago + 1) * steps + start * stride(self.shown)
        return self.env.replay(env, step, length)


def _padded(arrays, length):
    """With as many rows as the longest episode has, so that one program does for all."""
    pad = lambda x: np.concatenate([x, np.zeros((length - len(x), *x.shape[1:]), x.dtype)])
    return [pad(x) for x in arrays]


@jax.jit
def _learned_return(
    state: RLHFState, obs: Shaped[Array, "time obs"], action: Shaped[Array, "time ..."], steps
) -> Float[Array, ""]:
    paid = state.reward.of(obs, action)
    return jnp.sum(jnp.where(jnp.arange(len(paid)) < steps, paid, 0.0))


_look = eqx.filter_jit(look)


@partial(jax.jit, static_argnames=("config",))
def _learn(state, trajectory, config):
    return learn(state, trajectory, config)[0]


@eqx.filter_jit
def _practise(state, trajectory, sampler, config):
    """One update: from what was just played, or where nobody played, from what is played now."""
    if trajectory is None or not learns(state, config):
        return rlhf.practise(state, sampler, config, 1)[0]
    return learn(state, trajectory, config)[0]


@eqx.filter_jit
def _show(key, state, sampler) -> Showing:
    episode = sampler.episodes(key, state.ppo.agent.actor, 1, deterministic=True)
    return Showing(episode.obs[0], state.reward(episode).reward.sum())
