"""RL^2: a recurrent policy that learns a task while it plays, by what it remembers.

The baseline that has no inner loop: PPO on whole trials, each on a task of its own, makes the
policy's memory do what gradient steps do elsewhere (Duan et al. 2016; Wang et al. 2016). Memory is
emptied between trials, and never between the episodes of one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import Environment
from metarlhf.meta.batches import count_of
from metarlhf.meta.trials import AnyTask, Trials, any_task
from metarlhf.networks import Agent
from metarlhf.ppo import PPOConfig, TrainState
from metarlhf.rollout import play_episodes
from metarlhf.types import Task


@dataclass(frozen=True)
class RL2Config:
    """Meta-learn a policy that remembers across the episodes of one task."""

    episodes: int = 2
    """Episodes of a trial: as many as it has to learn a task, and to do well in it."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            total_steps=2_000_000, num_envs=64, num_steps=200, memory="gru", memory_size=64
        )
    )
    """How it is trained. The discount goes on from one episode of a trial to the next; memories are
    learned over at most num_steps, so that these should be a whole trial."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, but is {self.episodes}")
        if self.ppo.memory is None:
            raise ValueError(
                "rl2 learns a task by remembering it: choose memory gru or lstm in ppo"
            )


@cache
def trials_of(family: Environment, config: RL2Config) -> Trials:
    """Trials on a given task; always the same object, so that compiled programs are found again."""
    return Trials(family, config.episodes)


def _training_on(family: Environment, config: RL2Config) -> AnyTask:
    return any_task(trials_of(family, config))


def init(key: PRNGKeyArray, family: Environment, config: RL2Config) -> TrainState:
    """Start training a fresh agent, on a task of its own in each environment."""
    return ppo.init(key, _training_on(family, config), jnp.zeros(()), config.ppo)


def meta_train(
    state: TrainState, family: Environment, config: RL2Config
) -> Iterator[tuple[TrainState, dict[str, float]]]:
    """PPO until its budget is spent, see `ppo.train`; `return` is that of whole trials."""
    return ppo.train(state, _training_on(family, config), jnp.zeros(()), config.ppo)


def iterate_many(
    state: TrainState, family: Environment, config: RL2Config, updates: int
) -> tuple[TrainState, dict[str, Float[Array, " update"]]]:
    """So many PPO updates, compiled, and the metrics of each."""
    return ppo.iterate_many(state, _training_on(family, config), jnp.zeros(()), config.ppo, updates)


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
