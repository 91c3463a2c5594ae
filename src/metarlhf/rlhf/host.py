"""The loop in a simulator outside the compiled program: the same but for who plays.

An agent begins from scratch there: priors are for families of tasks. What is learned, and asked, is
the same pure functions of what was played.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs import HostEnv, Shown
from metarlhf.envs.base import ShownEnv
from metarlhf.feedback import blank
from metarlhf.reward import Ensemble, EnsembleConfig
from metarlhf.rlhf import loop
from metarlhf.rlhf.ask import ask
from metarlhf.rlhf.clips import check_steps, clips_in_a_round
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.loop import (
    RLHFState,
    choice,
    learns,
    seen,
    take_in,
)
from metarlhf.rlhf.start import begin
from metarlhf.types import Trajectory


def from_scratch(
    key: PRNGKeyArray,
    env: HostEnv,
    shown: ShownEnv,
    config: RLHFConfig,
    ensemble: EnsembleConfig | None = None,
) -> RLHFState:
    """Begin with an untrained agent and an ensemble of random reward networks."""
    check_steps(shown, config)
    agent_key, belief_key, ppo_key, key = jax.random.split(key, 4)
    agent = ppo.new_agent(agent_key, env, config.ppo)
    belief = Ensemble.create(belief_key, shown, ensemble or EnsembleConfig())
    train = ppo.host.init(ppo_key, env, config.learning, agent)
    clips = clips_in_a_round(shown, config)
    return begin(key, train, belief, shown, blank(shown, 0), clips, config)


def restart(state: RLHFState, env: HostEnv) -> RLHFState:
    """Go on from a checkpoint in environments that begin anew.

    What was seen of the old episodes can be asked about no more: nobody could be shown it.
    """
    nothing = jnp.zeros_like(state.candidates.showable)
    anew = (ppo.host.restart(state.ppo, env), nothing)
    return eqx.tree_at(lambda s: (s.ppo, s.candidates.showable), state, anew)


def look(
    state: RLHFState, env: HostEnv, shown: ShownEnv, config: RLHFConfig
) -> tuple[RLHFState, Trajectory]:
    """Let the agent play, and remember its clips to ask about."""
    train, trajectory, _ = ppo.host.play(state.ppo, env, config.learning)
    return _seen(state, train, trajectory, shown), trajectory


@partial(jax.jit, static_argnames=("config",))
def learn(state: RLHFState, trajectory: Trajectory, config: RLHFConfig) -> RLHFState:
    """An update from what was played, paid as it is believed to deserve, and held as asked for."""
    return loop.learn(state, trajectory, config)[0]


def run_round(state: RLHFState, env: HostEnv, shown: ShownEnv, config: RLHFConfig) -> RLHFState:
    """One round with a simulated teacher: look, ask, take in, practise."""
    state, trajectory = look(state, env, shown, config)
    state = _round(state, trajectory, shown, config)
    return practise(state, env, config, config.updates - learns(state, config))


def practise(state: RLHFState, env: HostEnv, config: RLHFConfig, updates: int) -> RLHFState:
    """`updates` of PPO on the reward as it is believed to be now."""
    for _ in range(updates):
        train, trajectory, _ = ppo.host.play(state.ppo, env, config.learning)
        # It is learned from, and not asked about.
        played = (train, state.steps + trajectory.reward.size)
        state = eqx.tree_at(lambda s: (s.ppo, s.steps), state, played)
        state = learn(state, trajectory, config)
    return state


@partial(jax.jit, static_argnames=("shown",))
def _seen(state: RLHFState, train: Any, trajectory: Trajectory, shown: Shown) -> RLHFState:
    return seen(state, train, trajectory, shown)


@partial(jax.jit, static_argnames=("shown", "config"))
def _round(state: RLHFState, trajectory: Trajectory, shown: Shown, config: RLHFConfig) -> RLHFState:
    key, ask_key, take_key = jax.random.split(state.key, 3)
    # What the worst and best step of somebody's simulator pay, nobody knows: no teacher rates it.
    nobody_knows = (float("nan"), float("nan"))
    answers = ask(ask_key, state.belief, *choice(state), state.answers, nobody_knows, config)
    state = take_in(take_key, state, answers, trajectory, shown, config)
    return eqx.tree_at(lambda s: (s.round, s.key), state, (state.round + 1, key))
