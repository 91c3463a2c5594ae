"""The whole loop on a simulator outside the compiled program: collect, update, log, until done.

It learns by the same update as `train`. What differs is who acts: here a simulator steps, which
cannot be copied, put back or saved. So training that goes on from a saved state begins new episodes
with all that was learned, and is not bit for bit what it would have been without the stop.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf.envs.base import HostEnv
from metarlhf.networks import Agent, Learned
from metarlhf.networks.actor_critic import initial_states
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.train import (
    RewardSource,
    TrainState,
    converged,
    first_state,
    learn,
    new_agent,
)
from metarlhf.rollout import EVALUATION
from metarlhf.rollout_host import collect, evaluate, reset, seed_of
from metarlhf.types import Trajectory

# Folded into a state's key for the seed of environments that begin anew.
RESTART = 0x2E57

jitted_learn = partial(jax.jit, static_argnames=("config",))(learn)


def init(
    key: PRNGKeyArray,
    env: HostEnv,
    config: PPOConfig,
    agent: Agent | None = None,
    learned: Learned | None = None,
) -> TrainState:
    """Start training `agent`, or a fresh one, in the environments of `env`; see `train.init`."""
    agent_key, reset_key, key = jax.random.split(key, 3)
    if agent is None:
        agent = new_agent(agent_key, env, config)
    rollout = reset(env, agent.actor, seed_of(reset_key))
    return first_state(key, agent, rollout, config, learned)


def restart(state: TrainState, env: HostEnv) -> TrainState:
    """The same training in environments that begin anew: what belonged to old episodes is gone."""
    seed = seed_of(jax.random.fold_in(state.key, RESTART))
    blank = initial_states(state.agent.value_function, env.num_envs)
    state = eqx.tree_at(
        lambda s: (s.rollout, s.critic_memory),
        state,
        (reset(env, state.agent.actor, seed), blank),
        is_leaf=lambda x: x is None,
    )
    if state.reward_scale is None:
        return state
    return eqx.tree_at(lambda s: s.reward_scale.returns, state, jnp.zeros(env.num_envs))


def play(
    state: TrainState, env: HostEnv, config: PPOConfig
) -> tuple[TrainState, Trajectory, Float[np.ndarray, " episodes"]]:
    """Collect what one update learns from, and what the episodes paid that ended meanwhile."""
    key, collect_key = jax.random.split(state.key)
    rollout, trajectory, returns = collect(
        collect_key, env, state.agent.actor, state.rollout, config.num_steps
    )
    state = eqx.tree_at(lambda s: (s.rollout, s.key), state, (rollout, key))
    return state, trajectory, returns


def iterate(
    state: TrainState, env: HostEnv, config: PPOConfig, reward: RewardSource | None = None
) -> tuple[TrainState, dict[str, Any]]:
    """One update: collect, pay, learn. `episode_return` is the mean of the episodes that ended."""
    state, trajectory, returns = play(state, env, config)
    state, metrics = jitted_learn(state, reward(trajectory) if reward else trajectory, config)
    return state, {
        "steps": int(state.updates) * config.batch_size,
        "episodes": len(returns),
        "episode_return": float(returns.mean()) if len(returns) else None,
        **{name: float(value) for name, value in metrics.items()},
    }


def is_due(state: TrainState, config: PPOConfig) -> bool:
    """Whether an evaluation comes after this update."""
    updates = int(state.updates)
    return updates % config.evaluate_every == 0 or updates == config.num_updates


def mean_return(state: TrainState, env: HostEnv) -> float:
    """Mean true return of the policy's mode, an episode in every environment of `env`."""
    return float(
        np.mean(evaluate(jax.random.fold_in(state.key, EVALUATION), env, state.agent.actor))
    )


def train(
    state: TrainState,
    env: HostEnv,
    evaluation_env: HostEnv,
    config: PPOConfig,
    reward: RewardSource | None = None,
    returns: Sequence[float] = (),
) -> Iterator[tuple[TrainState, dict[str, Any]]]:
    """Train until the policy has converged or the budget is spent.

    `returns` are those of evaluations before, where it goes on from a state.

    Yields the state and metrics after every update; those after every `evaluate_every` have
    `return` too, the mean true return of an episode in each of `evaluation_env`.
    """
    returns = list(returns)
    while int(state.updates) < config.num_updates and not converged(returns, config):
        state, metrics = iterate(state, env, config, reward)
        if is_due(state, config):
            returns.append(mean_return(state, evaluation_env))
            metrics["return"] = returns[-1]
        yield state, metrics
