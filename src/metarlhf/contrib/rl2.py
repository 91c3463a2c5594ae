"""Trials: several episodes of one task as one long episode, for a policy that remembers.

What is seen is what the task shows, and what was done, paid and ended just before: all that tells
one task from another (RL^2: Duan et al. 2016, section 2.2). A trial ends with its last episode, and
only then is memory emptied; the ends within are no ends to an agent that learns from trials.

RL^2: a recurrent policy that learns a task while it plays, by what it remembers.

The baseline that has no inner loop: PPO on whole trials, each on a task of its own, makes the
policy's memory do what gradient steps do elsewhere (Duan et al. 2016; Wang et al. 2016). Memory is
emptied between trials, and never between the episodes of one.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, Shaped

from metarlhf import ppo
from metarlhf.contrib.config import RL2Config
from metarlhf.envs.base import Environment, Step
from metarlhf.envs.spaces import Box, Discrete
from metarlhf.meta.tasks import count_of
from metarlhf.networks import Agent
from metarlhf.ppo import TrainState
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import play_episodes
from metarlhf.types import State, Task


class TrialState(NamedTuple):
    """Where a trial stands."""

    env: State
    episode: Integer[Array, ""]
    """Episodes that have ended."""


class Trials:
    """Trials of `episodes` episodes on the task that is given, as an `Environment`.

    Observations are those of `family`, the action before (in [-1, 1], or a one where a discrete one
    was chosen), the reward before, and 1 in the first step of every episode but the first.

    Raises:
        ValueError: there is no episode, or `family` shows other than vectors, or does other things
            than moving in a box or choosing one of several.
    """

    def __init__(self, family: Environment, episodes: int):
        if episodes < 1:
            raise ValueError(f"episodes must be at least 1, but is {episodes}")
        sees, does = family.observation_space, family.action_space
        if not isinstance(sees, Box) or not isinstance(does, Box | Discrete):
            raise ValueError(
                f"trials are of tasks that show vectors and take a vector or one of several "
                f"actions, but {family.name} shows {sees} and takes {does}"
            )
        self.family, self.episodes = family, episodes
        self.name = f"{episodes} episodes of {family.name}"
        self.horizon = episodes * family.horizon
        self.action_space = self._does = does
        self.observation_space = Box(
            sees.size + does.size + 2,
            -float("inf"),
            float("inf"),
            (*sees.names, *(f"{name} before" for name in does.names), "reward before", "new"),
        )

    def sample(self, key: PRNGKeyArray) -> Task:
        return self.family.sample(key)

    def reset(self, key: PRNGKeyArray, task: Task) -> tuple[Float[Array, " obs"], TrialState]:
        obs, env = self.family.reset(key, task)
        nothing = jnp.zeros(self._does.size + 2)
        return jnp.concatenate([obs, nothing]), TrialState(env, jnp.zeros((), jnp.int32))

    def step(
        self, key: PRNGKeyArray, state: TrialState, action: Shaped[Array, "*action"], task: Task
    ) -> Step:
        step_key, reset_key = jax.random.split(key)
        obs, env, reward, terminated, truncated = self.family.step(
            step_key, state.env, action, task
        )
        done = terminated | truncated
        anew = self.family.reset(reset_key, task)
        obs, env = jax.tree.map(lambda new, old: jnp.where(done, new, old), anew, (obs, env))
        episode = state.episode + done
        return Step(
            jnp.concatenate([obs, self._done(action), jnp.stack([reward, done.astype(float)])]),
            TrialState(env, episode),
            reward,
            episode >= self.episodes,
            jnp.zeros((), bool),
        )

    def _done(self, action: Shaped[Array, "*action"]) -> Float[Array, " size"]:
        """The action as it is seen afterwards."""
        space = self._does
        if isinstance(space, Discrete):
            return jax.nn.one_hot(action, space.size)
        low, high = jnp.asarray(space.low), jnp.asarray(space.high)
        return 2.0 * (action - low) / (high - low) - 1.0

    def returns(
        self,
        obs: Float[Array, "*batch time obs"],
        reward: Float[Array, "*batch time"],
        done: Bool[Array, "*batch time"],
    ) -> Float[Array, "*batch episode"]:
        """The return of each episode, of rollouts that start a trial; what follows it is left."""
        episode = jnp.cumsum(obs[..., -1], axis=-1)
        beyond = jnp.cumsum(done, axis=-1) - done > 0
        paid = jnp.where(beyond, 0.0, reward)
        own = episode[..., None] == jnp.arange(self.episodes)
        return jnp.sum(own * paid[..., None], axis=-2)


class OwnTask(NamedTuple):
    """A task that was drawn at a reset, and where it stands."""

    task: Task
    state: State


@cache
def any_task(env: Environment) -> "AnyTask":
    """`AnyTask` of it; always the same object, so that compiled programs are found again."""
    return AnyTask(env)


class AnyTask:
    """An environment that draws a task of its own for each episode, whichever it is given.

    What learns in it learns all tasks at once.
    """

    def __init__(self, env: Environment):
        self.env, self.name, self.horizon = env, f"{env.name}, any task", env.horizon
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def sample(self, key: PRNGKeyArray) -> Task:
        """Nothing: tasks are drawn by `reset`."""
        return jnp.zeros(())

    def reset(self, key: PRNGKeyArray, task: Task) -> tuple[Shaped[Array, "..."], OwnTask]:
        task_key, reset_key = jax.random.split(key)
        own = self.env.sample(task_key)
        obs, state = self.env.reset(reset_key, own)
        return obs, OwnTask(own, state)

    def step(
        self, key: PRNGKeyArray, state: OwnTask, action: Shaped[Array, "*action"], task: Task
    ) -> Step:
        step = self.env.step(key, state.state, action, state.task)
        return step._replace(state=OwnTask(state.task, step.state))


@cache
def trials_of(family: Environment, config: RL2Config) -> Trials:
    """Trials on a given task; always the same object, so that compiled programs are found again."""
    return Trials(family, config.episodes)


def _training_on(family: Environment, config: RL2Config) -> AnyTask:
    return any_task(trials_of(family, config))


def init(key: PRNGKeyArray, family: Environment, config: RL2Config) -> TrainState:
    """Start training a fresh agent, on a task of its own in each environment."""
    return ppo.init(
        key,
        CompiledSampler(_training_on(family, config), jnp.zeros(()), config.ppo.num_envs),
        config.ppo,
    )


def meta_train(
    state: TrainState, family: Environment, config: RL2Config
) -> Iterator[tuple[TrainState, dict[str, float]]]:
    """PPO until its budget is spent, see `ppo.train`; `return` is that of whole trials."""
    return ppo.train(
        state,
        CompiledSampler(_training_on(family, config), jnp.zeros(()), config.ppo.num_envs),
        config.ppo,
    )


def iterate_many(
    state: TrainState, family: Environment, config: RL2Config, updates: int
) -> tuple[TrainState, dict[str, Float[Array, " update"]]]:
    """So many PPO updates, compiled, and the metrics of each."""
    return ppo.iterate_many(
        state,
        CompiledSampler(_training_on(family, config), jnp.zeros(()), config.ppo.num_envs),
        config.ppo,
        updates,
    )


@partial(jax.jit, static_argnames=("family", "config", "count", "deterministic"))
def returns_by_episode(
    key: PRNGKeyArray,
    family: Environment,
    tasks: Task,
    agent: Agent,
    config: RL2Config,
    count: int,
    deterministic: bool = False,
) -> Float[Array, "task trial episode"]:
    """True returns after 0, 1, ... episodes of each of `tasks`, in `count` trials of each.

    Every trial begins with an empty memory. As elsewhere in adaptation, policies act by sampling
    unless `deterministic`.
    """
    trials = trials_of(family, config)

    def one(key, task):
        played = play_episodes(key, trials, task, agent.actor, count, deterministic)
        return trials.returns(played.obs, played.task_reward, played.done)

    keys = jax.random.split(key, count_of(tasks))
    return jax.vmap(one)(keys, tasks)
