"""A policy in compiled environments: one `scan`.

Everything random is drawn before the loop (action noise, the states that episodes restart from),
and everything that is not needed inside it (values, advantages) is computed after: on a CPU the
loop's time is the number of operations in its body, not their size.
"""

from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import Environment, TaskFamily, Tasks
from metarlhf.networks import Agent, Policy
from metarlhf.networks.actor_critic import forget, initial_states
from metarlhf.sampling.base import UNKNOWN_BOUNDS, RolloutState, episode_return
from metarlhf.types import Task, Trajectory


class CompiledSampler(eqx.Module):
    """A `Sampler` of one task of a compiled environment; a pytree, whose task may be traced.

    Args:
        env: the environment.
        task: what `env` is given as its task.
        num_envs: environments that step together.
    """

    env: Environment = eqx.field(static=True)
    task: Task
    num_envs: int = eqx.field(static=True)
    pure: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Of the environment."""
        return self.env.name

    @property
    def spaces(self) -> Environment:
        """The environment, which has them."""
        return self.env

    @property
    def shown(self) -> Any:
        """The environment: people can be shown clips of a `TaskFamily`."""
        return self.env

    @property
    def reward_bounds(self) -> tuple[float, float]:
        """Of one step, as the environment says; NaN where it does not."""
        return getattr(self.env, "reward_bounds", UNKNOWN_BOUNDS)

    def without_termination(self) -> "CompiledSampler":
        """The same where no episode ends at a hidden goal, see `TaskFamily`."""
        if not isinstance(self.env, TaskFamily):
            return self
        return replace(self, env=self.env.without_termination())

    def reset(self, key: PRNGKeyArray, actor: Policy) -> RolloutState:
        """Begin an episode in every environment."""
        return reset(key, self.env, self.task, actor, self.num_envs)

    def collect(
        self, key: PRNGKeyArray, actor: Policy, state: RolloutState, steps: int
    ) -> tuple[RolloutState, Trajectory]:
        """Act for `steps` in every environment, see `Sampler.collect`."""
        return collect(key, self.env, self.task, actor, state, steps)

    def statistics(self, start: RolloutState, trajectory: Trajectory) -> dict[str, Any]:
        """Nothing: compiled training is told by its evaluations."""
        return {}

    def episodes(
        self, key: PRNGKeyArray, actor: Policy, count: int, deterministic: bool = False
    ) -> Trajectory:
        """Whole episodes, see `Sampler.episodes`."""
        return play_episodes(key, self.env, self.task, actor, count, deterministic)

    def evaluate(
        self, key: PRNGKeyArray, actor: Policy, episodes: int, deterministic: bool = True
    ) -> Float[Array, " episode"]:
        """True returns of whole episodes, compiled."""
        return _evaluate(self, key, actor, episodes, deterministic)


@eqx.filter_jit
def _evaluate(sampler, key, actor, episodes, deterministic):
    return evaluate(key, sampler.env, sampler.task, actor, episodes, deterministic)


class CompiledTaskSampler(eqx.Module):
    """A `TaskSampler` of a compiled family of tasks."""

    family: Environment = eqx.field(static=True)
    pure: ClassVar[bool] = True

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        return self.family.horizon

    def sample_tasks(self, key: PRNGKeyArray, count: int) -> Task:
        """`count` tasks of the family."""
        return sample_tasks(key, self.family, count)

    def episodes(
        self,
        key: PRNGKeyArray,
        tasks: Task,
        agents: Agent,
        count: int,
        deterministic: bool = False,
    ) -> Trajectory:
        """Whole episodes of every task by its own agent, see `TaskSampler.episodes`."""

        def one(key, task, agent):
            return play_episodes(key, self.family, task, agent.actor, count, deterministic)

        num_tasks = jax.tree.leaves(tasks)[0].shape[0]
        return jax.vmap(one)(jax.random.split(key, num_tasks), tasks, agents)


def sample_tasks(key: PRNGKeyArray, family: Tasks, count: int) -> Task:
    """`count` tasks of a family; leaves have a leading dimension `task`."""
    return jax.vmap(family.sample)(jax.random.split(key, count))


def reset(
    key: PRNGKeyArray, family: Environment, task: Task, actor: Policy, num_envs: int
) -> RolloutState:
    """Start an episode in each of `num_envs` environments of one task."""
    obs, env = jax.vmap(family.reset, (0, None))(jax.random.split(key, num_envs), task)
    return RolloutState(obs, env, initial_states(actor, num_envs))


def collect(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    actor: Policy,
    start: RolloutState,
    num_steps: int,
    deterministic: bool = False,
) -> tuple[RolloutState, Trajectory]:
    """Act for `num_steps` in every environment, restarting each where its episode ends.

    Returns the state to go on from, and a trajectory with leading dimensions (env, time).
    """
    num_envs = jax.tree.leaves(start.obs)[0].shape[0]
    noise_key, reset_key, step_key = jax.random.split(key, 3)
    shape = (num_steps, num_envs)
    noise = actor.draw_noise(noise_key, shape)
    fresh = jax.vmap(jax.vmap(family.reset, (0, None)), (0, None))(
        jax.random.split(reset_key, shape), task
    )
    step_keys = jax.random.split(step_key, shape)

    def step(carry: RolloutState, inputs):
        noise, (fresh_obs, fresh_env), keys = inputs
        distribution, policy = actor(carry.obs, carry.policy)
        action = distribution.mode() if deterministic else distribution.sample(noise)
        log_prob = distribution.log_prob(action)
        unit = family.action_space.from_unit(action)
        next_obs, env, reward, terminated, truncated = jax.vmap(family.step, (0, 0, 0, None))(
            keys, carry.env, unit, task
        )
        done = terminated | truncated
        following = RolloutState(
            forget(done, fresh_obs, next_obs),
            forget(done, fresh_env, env),
            forget(done, actor.initial_state(), policy),
        )
        return following, Trajectory(
            carry.obs,
            action,
            log_prob,
            next_obs,
            reward,
            reward,
            terminated,
            truncated & ~terminated,
        )

    end, trajectory = jax.lax.scan(step, start, (noise, fresh, step_keys))
    trajectory = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), trajectory)
    return end, replace(trajectory, memory=start.policy)


def play_episodes(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    actor: Policy,
    num_episodes: int,
    deterministic: bool = False,
) -> Trajectory:
    """Fresh episodes until the horizon, a row each; what follows an earlier end is the next one."""
    reset_key, collect_key = jax.random.split(key)
    start = reset(reset_key, family, task, actor, num_episodes)
    return collect(collect_key, family, task, actor, start, family.horizon, deterministic)[1]


def evaluate(
    key: PRNGKeyArray,
    family: Environment,
    task: Task,
    actor: Policy,
    num_episodes: int,
    deterministic: bool = True,
) -> Float[Array, " episodes"]:
    """True returns of whole episodes; but for this, simulated teachers alone see true rewards."""
    return episode_return(play_episodes(key, family, task, actor, num_episodes, deterministic))
