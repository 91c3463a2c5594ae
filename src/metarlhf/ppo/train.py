"""The whole loop: collect, advantages, update, log, until done."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import optimise
from metarlhf.envs.base import Environment, Spaces
from metarlhf.networks import (
    Agent,
    Learned,
    LearnedDrift,
    LearnedOptimiser,
    Schedule,
    build_agent,
    learned_rule,
)
from metarlhf.networks.actor_critic import initial_states
from metarlhf.ppo.batch import RewardScale, explained_variance, make_batch
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.update import Metrics, adapt_kl_coefficient, update
from metarlhf.rollout import EVALUATION, RolloutState, collect, evaluate, reset
from metarlhf.types import State, Task, Trajectory

# Where rewards come from: pays a trajectory anew, or leaves it as the environment paid it.
RewardSource = Callable[[Trajectory], Trajectory]

# Folded into the key that training begins with: a learned optimiser's noise.
NOISE = 0x6E6F69


class TrainState(eqx.Module):
    """All there is to know to go on training."""

    agent: Agent
    optimiser: optax.OptState
    rollout: RolloutState
    kl_coefficient: Float[Array, ""]
    reward_scale: RewardScale | None
    critic_memory: State
    key: PRNGKeyArray
    updates: Integer[Array, ""]
    learned: Learned | None = None


def adam(config: PPOConfig) -> optax.GradientTransformation:
    """Adam, its step size annealed over the budget where asked."""
    steps = config.num_updates * config.epochs * config.minibatches
    lr = optax.linear_schedule(config.lr, 0.0, steps) if config.anneal_lr else config.lr
    return optax.adam(lr, eps=1e-5)


def optimiser(
    config: PPOConfig,
    learned: Learned | None = None,
    key: PRNGKeyArray | None = None,
) -> optax.GradientTransformation:
    """Adam on shortened gradients.

    A `learned` optimiser stands in Adam's place; its noise is from the `key` that it begins with.
    """
    rule = adam(config)
    if isinstance(learned, LearnedOptimiser):
        schedule = Schedule(config.num_updates, config.epochs, config.minibatches)
        rule = learned_rule(learned, schedule, jax.random.key(0) if key is None else key)
    return shortened(rule, config)


def shortened(
    rule: optax.GradientTransformation, config: PPOConfig
) -> optax.GradientTransformation:
    """`rule` on gradients that are no longer than `config` allows."""
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule)


def check_learned(learned: Learned | None, config: PPOConfig) -> None:
    """Refuse what does not go together.

    Raises:
        ValueError: a learned drift beside another objective than clipping; a learned optimiser
            beside trpo.
    """
    if isinstance(learned, LearnedDrift) and config.objective != "clip":
        raise ValueError(
            "a learned drift stands in the place of clipping, and the objective is "
            f"{config.objective}: leave objective at clip"
        )
    if isinstance(learned, LearnedOptimiser) and config.objective == "trpo":
        raise ValueError(
            "trpo bounds how far the policy moves, and a learned optimiser would move it after "
            "that, whatever its gradient: choose another objective"
        )


def init(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    config: PPOConfig,
    agent: Agent | None = None,
    learned: Learned | None = None,
) -> TrainState:
    """Start training `agent`, or a fresh one, on `task`.

    It learns by Adam and clipping, or with a `learned` optimiser or drift in their place.
    """
    agent_key, reset_key, key = jax.random.split(key, 3)
    if agent is None:
        agent = new_agent(agent_key, family, config)
    rollout = reset(reset_key, family, task, agent.actor, config.num_envs)
    return first_state(key, agent, rollout, config, learned)


def new_agent(key: PRNGKeyArray, spaces: Spaces, config: PPOConfig) -> Agent:
    """An untrained agent as `config` says, which fits an environment's spaces."""
    return build_agent(
        key,
        spaces,
        config.hidden,
        initial_std=config.initial_std,
        memory=config.memory,
        memory_size=config.memory_size,
        normalise_obs=config.normalise_obs,
        squash=config.squash,
        shared_torso=config.shared_torso,
    )


def first_state(
    key: PRNGKeyArray,
    agent: Agent,
    rollout: RolloutState,
    config: PPOConfig,
    learned: Learned | None = None,
) -> TrainState:
    """Nothing learned yet, in environments that stand where `rollout` says.

    Raises:
        ValueError: see `check_learned`.
    """
    check_learned(learned, config)
    rule = optimiser(config, learned, jax.random.fold_in(key, NOISE))
    return TrainState(
        agent=agent,
        optimiser=optimise.begin(rule, agent),
        rollout=rollout,
        kl_coefficient=jnp.full((), config.kl_coefficient, jnp.float32),
        reward_scale=RewardScale.start(config.num_envs) if config.normalise_reward else None,
        critic_memory=initial_states(agent.value_function, config.num_envs),
        key=key,
        updates=jnp.zeros((), jnp.int32),
        learned=learned,
    )


def play(
    state: TrainState, family: Environment, task: Task, config: PPOConfig
) -> tuple[TrainState, Trajectory]:
    """Collect what one update learns from: a trajectory with dimensions (env, time)."""
    key, collect_key = jax.random.split(state.key)
    rollout, trajectory = collect(
        collect_key, family, task, state.agent.actor, state.rollout, config.num_steps
    )
    return eqx.tree_at(lambda s: (s.rollout, s.key), state, (rollout, key)), trajectory


def skip(state: TrainState, trajectory: Trajectory, config: PPOConfig) -> TrainState:
    """Learn nothing from what was collected; a value function with a memory goes on from it."""
    if config.memory is None:
        return state
    _, critic_memory = make_batch(state.agent, trajectory, config, state.critic_memory)
    return eqx.tree_at(lambda s: s.critic_memory, state, critic_memory)


def learn(
    state: TrainState,
    trajectory: Trajectory,
    config: PPOConfig,
    rule: optax.GradientTransformation | None = None,
) -> tuple[TrainState, Metrics]:
    """One update from what was collected, paid as the trajectory says.

    A `rule` may stand in the place of the `optimiser`, where the state was begun with it.
    """
    key, update_key = jax.random.split(state.key)
    paid, reward_scale = trajectory, state.reward_scale
    if reward_scale is not None:
        paid, reward_scale = reward_scale.apply(trajectory, config.gamma)
    batch, critic_memory = make_batch(state.agent, paid, config, state.critic_memory)
    agent, optimiser_state, metrics = update(
        update_key,
        state.agent,
        state.optimiser,
        rule or optimiser(config, state.learned),
        batch,
        config,
        state.kl_coefficient,
        state.learned if isinstance(state.learned, LearnedDrift) else None,
    )
    if agent.actor.body.moments is not None:
        # After the update: what was collected was collected with the old ones.
        agent = agent.with_moments(agent.actor.body.moments.update(trajectory.obs))
    kl_coefficient = state.kl_coefficient
    if config.adapt_kl_coefficient:
        kl_coefficient = adapt_kl_coefficient(kl_coefficient, metrics["kl"], config.kl_target)
    metrics |= {
        "reward": trajectory.reward.mean(),
        "explained_variance": explained_variance(batch),
    }
    return TrainState(
        agent,
        optimiser_state,
        state.rollout,
        kl_coefficient,
        reward_scale,
        critic_memory,
        key,
        state.updates + 1,
        state.learned,
    ), metrics


def iterate(
    state: TrainState,
    family: Environment,
    task: Task,
    config: PPOConfig,
    reward: RewardSource | None = None,
) -> tuple[TrainState, Metrics]:
    """One update: play, pay, learn. Pure; vmap it over seeds or tasks."""
    state, trajectory = play(state, family, task, config)
    return learn(state, reward(trajectory) if reward else trajectory, config)


@eqx.filter_jit
def iterate_many(state, family, task, config, updates, reward=None):
    """Several updates in one compiled program; metrics are stacked.

    `reward` may be a pytree, whose arrays are no part of the program, or any function: another one
    is another program.
    """
    step = lambda state, _: iterate(state, family, task, config, reward)
    return jax.lax.scan(step, state, length=updates)


def converged(returns: Sequence[float], config: PPOConfig) -> bool:
    """Whether the last `patience` evaluations all failed to better what came before.

    Better means: by more than `tolerance` of the spread between best and worst so far.
    """
    if not config.patience or len(returns) <= config.patience:
        return False
    before, recent = returns[: -config.patience], returns[-config.patience :]
    margin = config.tolerance * (max(returns) - min(returns))
    return max(recent) <= max(before) + margin


def train(
    state: TrainState,
    family: Environment,
    task: Task,
    config: PPOConfig,
    reward: RewardSource | None = None,
    returns: Sequence[float] = (),
) -> Iterator[tuple[TrainState, dict[str, float]]]:
    """Train until the policy has converged or the budget is spent.

    Yields the state and metrics after every `evaluate_every` updates, `return` being the mean true
    return of evaluation episodes: stop iterating to stop, keep a state to resume from it. Give the
    `returns` that were yielded with and before it, too: convergence is told from all of them.
    """
    returns = list(returns)
    while int(state.updates) < config.num_updates and not converged(returns, config):
        updates = min(config.evaluate_every, config.num_updates - int(state.updates))
        state, metrics = iterate_many(state, family, task, config, updates, reward)
        key = jax.random.fold_in(state.key, EVALUATION)
        evaluation = jitted_evaluate(
            key, family, task, state.agent.actor, config.evaluation_episodes
        )
        returns.append(float(np.mean(evaluation)))
        yield (
            state,
            {
                "steps": int(state.updates) * config.batch_size,
                "return": returns[-1],
                **{name: float(values.mean()) for name, values in metrics.items()},
            },
        )


jitted_evaluate = partial(jax.jit, static_argnames=("family", "num_episodes"))(evaluate)
