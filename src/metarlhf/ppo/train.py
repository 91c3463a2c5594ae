"""PPO from beginning to end: collect, pay, learn, evaluate, until converged or out of budget.

`iterate` is one update, `training` the whole as a `Loop`, `train` a generator of it. Numbers of
implementation details are those of Huang et al. 2022, see `ppo.update`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import Spaces
from metarlhf.networks import Agent, build_agent
from metarlhf.networks.actor_critic import initial_states
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.objectives import Drift
from metarlhf.ppo.update import (
    Metrics,
    RewardScale,
    adapt_kl_coefficient,
    explained_variance,
    make_batch,
    update,
)
from metarlhf.sampling import EVALUATION, RolloutState, Sampler
from metarlhf.training import Loop, converged
from metarlhf.training import iterate as run
from metarlhf.types import State, Trajectory


@runtime_checkable
class UpdateRule(Protocol):
    """What may stand in Adam's place, such as a learned optimiser."""

    def transformation(
        self, updates: int, epochs: int, minibatches: int, key: PRNGKeyArray
    ) -> optax.GradientTransformation:
        """For a training of `updates` times `epochs` passes of `minibatches` gradient steps each;
        what is random in it follows from `key`.
        """
        ...


# What is meta-learned of how PPO learns: who takes the place of Adam, or of clipping.
LearnedUpdate = UpdateRule | Drift
# Where rewards come from: pays a trajectory anew, or leaves it as the environment paid it.
RewardSource = Callable[[Trajectory], Trajectory]

# Folded into the key that training begins with: noise of an update rule's own.
NOISE = 0x6E6F69
# Folded into a state's key for environments that begin anew.
RESTART = 0x2E57


class TrainState(eqx.Module):
    """All there is to know to go on training.

    Attributes:
        agent: policy and value function.
        optimiser: the optimiser's state.
        rollout: where the environments and the policy's memory stand.
        kl_coefficient: weight of the KL penalty, where the objective has one.
        reward_scale: running scale of rewards; None unless they are normalised.
        critic_memory: what a recurrent value function remembers, environment by environment.
        key: all randomness from here on follows from it.
        updates: how many were made.
        learned: what stands in the place of Adam or of clipping.
    """

    agent: Agent
    optimiser: optax.OptState
    rollout: RolloutState
    kl_coefficient: Float[Array, ""]
    reward_scale: RewardScale | None
    critic_memory: State
    key: PRNGKeyArray
    updates: Integer[Array, ""]
    learned: LearnedUpdate | None = None


def adam(config: PPOConfig) -> optax.GradientTransformation:
    """Adam, its step size annealed over the budget where asked (core details 3 and 4)."""
    steps = config.num_updates * config.epochs * config.minibatches
    lr = optax.linear_schedule(config.lr, 0.0, steps) if config.anneal_lr else config.lr
    return optax.adam(lr, eps=1e-5)


def optimiser(
    config: PPOConfig,
    learned: LearnedUpdate | None = None,
    key: PRNGKeyArray | None = None,
) -> optax.GradientTransformation:
    """Adam on clipped gradients, or an `UpdateRule` in its place, whose noise is from `key`."""
    rule = adam(config)
    if isinstance(learned, UpdateRule):
        key = jax.random.key(0) if key is None else key
        rule = learned.transformation(config.num_updates, config.epochs, config.minibatches, key)
    return shortened(rule, config)


def shortened(
    rule: optax.GradientTransformation, config: PPOConfig
) -> optax.GradientTransformation:
    """`rule` on gradients whose global norm is at most `config.max_grad_norm` (core detail 11)."""
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), rule)


def check_learned(learned: LearnedUpdate | None, config: PPOConfig) -> None:
    """Refuse what does not go together.

    Raises:
        ValueError: a learned drift with another objective than clipping; a learned optimiser with
            trpo.
    """
    rule = isinstance(learned, UpdateRule)
    if learned is not None and not rule and config.objective != "clip":
        raise ValueError(
            "a learned drift stands in the place of clipping, and the objective is "
            f"{config.objective}: leave objective at clip"
        )
    if rule and config.objective == "trpo":
        raise ValueError(
            "trpo bounds how far the policy moves, and a learned optimiser would move it after "
            "that, whatever its gradient: choose another objective"
        )


def init(
    key: PRNGKeyArray,
    sampler: Sampler,
    config: PPOConfig,
    agent: Agent | None = None,
    learned: LearnedUpdate | None = None,
) -> TrainState:
    """Begin training `agent`, or a fresh one, where `sampler` acts.

    Args:
        key: all randomness follows from it.
        sampler: of `config.num_envs` environments.
        config: how PPO learns.
        agent: an agent to go on from; None for an untrained one.
        learned: an optimiser or drift in the place of Adam or of clipping.

    Raises:
        ValueError: the sampler has another number of environments, or see `check_learned`.
    """
    if sampler.num_envs != config.num_envs:
        raise ValueError(
            f"the sampler has {sampler.num_envs} environments, but config.num_envs is "
            f"{config.num_envs}: make them the same"
        )
    check_learned(learned, config)
    agent_key, reset_key, key = jax.random.split(key, 3)
    if agent is None:
        agent = new_agent(agent_key, sampler.spaces, config)
    rollout = sampler.reset(reset_key, agent.actor)
    rule = optimiser(config, learned, jax.random.fold_in(key, NOISE))
    return TrainState(
        agent=agent,
        optimiser=rule.init(eqx.filter(agent, eqx.is_array)),
        rollout=rollout,
        kl_coefficient=jnp.full((), config.kl_coefficient, jnp.float32),
        reward_scale=RewardScale.start(config.num_envs) if config.normalise_reward else None,
        critic_memory=initial_states(agent.value_function, config.num_envs),
        key=key,
        updates=jnp.zeros((), jnp.int32),
        learned=learned,
    )


def restart(state: TrainState, sampler: Sampler) -> TrainState:
    """The same training in environments that begin anew: what belonged to old episodes is gone.

    For a state from a checkpoint, whose host simulators are not in it.
    """
    key = jax.random.fold_in(state.key, RESTART)
    blank = initial_states(state.agent.value_function, sampler.num_envs)
    state = eqx.tree_at(
        lambda s: (s.rollout, s.critic_memory),
        state,
        (sampler.reset(key, state.agent.actor), blank),
        is_leaf=lambda x: x is None,
    )
    if state.reward_scale is None:
        return state
    return eqx.tree_at(lambda s: s.reward_scale.returns, state, jnp.zeros(sampler.num_envs))


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


def play(state: TrainState, sampler: Sampler, config: PPOConfig) -> tuple[TrainState, Trajectory]:
    """Collect what one update learns from: a trajectory with dimensions (env, time)."""
    key, collect_key = jax.random.split(state.key)
    rollout, trajectory = sampler.collect(
        collect_key, state.agent.actor, state.rollout, config.num_steps
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
        None if isinstance(state.learned, UpdateRule) else state.learned,
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
    state: TrainState, sampler: Sampler, config: PPOConfig, reward: RewardSource | None = None
) -> tuple[TrainState, dict[str, Any]]:
    """One update: collect, pay, learn. Pure where the sampler is: `vmap` it over seeds or tasks.

    Args:
        state: where training stands.
        sampler: who acts.
        config: how PPO learns.
        reward: pays the trajectory anew; None leaves it as the environment paid it.

    Returns:
        The state after the update, and its metrics.
    """
    played, trajectory = play(state, sampler, config)
    update_from = learn if sampler.pure else _compiled_learn
    paid = reward(trajectory) if reward else trajectory
    after, metrics = update_from(played, paid, config)
    return after, metrics | sampler.statistics(state.rollout, trajectory)


_compiled_learn = eqx.filter_jit(learn)


@eqx.filter_jit
def iterate_many(
    state: TrainState,
    sampler: Sampler,
    config: PPOConfig,
    updates: int,
    reward: RewardSource | None = None,
) -> tuple[TrainState, dict[str, Float[Array, " update"]]]:
    """Several updates of a pure sampler in one compiled program; metrics are stacked.

    `reward` may be a pytree, whose arrays are no part of the program, or any function: another one
    is another program.
    """
    step = lambda state, _: iterate(state, sampler, config, reward)
    return jax.lax.scan(step, state, length=updates)


def training(
    key: PRNGKeyArray,
    sampler: Sampler,
    config: PPOConfig,
    agent: Agent | None = None,
    learned: LearnedUpdate | None = None,
    reward: RewardSource | None = None,
) -> Loop[TrainState]:
    """PPO until the policy has converged or the budget is spent, as a `training.Loop`.

    Args: as of `init` and `iterate`.

    A step is all updates until the next evaluation where the sampler is pure, in one program; else
    it is one update, as simulators may be slow. Metrics are means over a step's updates; after
    every `config.evaluate_every` updates they have `return`, the mean true return of whole episodes
    of the policy's mode.
    """

    def step(state: TrainState, done: int) -> tuple[TrainState, dict[str, Any]]:
        before = int(state.updates)
        if sampler.pure:
            updates = min(config.evaluate_every, config.num_updates - before)
            state, metrics = iterate_many(state, sampler, config, updates, reward)
        else:
            state, metrics = iterate(state, sampler, config, reward)
        after = int(state.updates)
        row: dict[str, Any] = {"steps": after * config.batch_size}
        if after % config.evaluate_every == 0 or after == config.num_updates:
            row["return"] = mean_return(state, sampler, config)
        return state, row | {name: _mean(value) for name, value in metrics.items()}

    total = config.num_updates
    return Loop(
        start=lambda: init(key, sampler, config, agent, learned),
        step=step,
        total=-(-total // config.evaluate_every) if sampler.pure else total,
        stop=lambda rows: has_converged(rows, config),
        restored=lambda state, rows: state if sampler.pure else restart(state, sampler),
        unit="evaluations" if sampler.pure else "updates",
    )


def _mean(value: Any) -> Any:
    """Of a metric over the updates of a step; how many episodes ended, and None, stay."""
    return value if value is None or isinstance(value, int) else float(np.mean(value))


def mean_return(state: TrainState, sampler: Sampler, config: PPOConfig) -> float:
    """Mean true return of `config.evaluation_episodes` whole episodes of the policy's mode."""
    key = jax.random.fold_in(state.key, EVALUATION)
    return float(np.mean(sampler.evaluate(key, state.agent.actor, config.evaluation_episodes)))


def has_converged(rows: Sequence[dict[str, Any]], config: PPOConfig) -> bool:
    """Whether the evaluations among `rows` of metrics say so, by `config`'s patience."""
    returns = [row["return"] for row in rows if row.get("return") is not None]
    return converged(returns, config.patience, config.tolerance)


def train(
    state: TrainState,
    sampler: Sampler,
    config: PPOConfig,
    reward: RewardSource | None = None,
    returns: Sequence[float] = (),
) -> Iterator[tuple[TrainState, dict[str, Any]]]:
    """Train until the policy has converged or the budget is spent.

    Args:
        state: from `init`, or one that was yielded before.
        sampler: who acts.
        config: how PPO learns.
        reward: pays trajectories anew; None leaves them as the environment paid them.
        returns: those that were yielded before, where training goes on: convergence is told from
            all of them.

    Yields:
        The state and metrics after each step of `training`.

    Raises:
        DivergedError: the state or a return is no number any more.
    """
    loop = training(state.key, sampler, config, reward=reward)
    done = int(state.updates)
    done = -(-done // config.evaluate_every) if sampler.pure else done
    yield from run(loop, state, [{"return": value} for value in returns], done)
