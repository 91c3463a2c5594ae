"""Adaptation to a batch of tasks: RLHF in each, or a reward that the answers adapt in each."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
from jaxtyping import Array, Key, Num, PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs.base import TaskFamily
from metarlhf.feedback import Library
from metarlhf.meta.inner import RewardSource
from metarlhf.networks import Agent
from metarlhf.reward import GradientReward, LearnedReward
from metarlhf.rlhf import RLHFConfig, RLHFState
from metarlhf.rlhf.ask import Answers, ask_about
from metarlhf.rlhf.state import learned_reward
from metarlhf.sampling import CompiledSampler
from metarlhf.types import Feedback, Task


class Adapted(NamedTuple):
    """Where adaptation stands, of one task or of a batch; then with a leading dimension `task`."""

    agent: Agent
    labels: Num[Array, "*task"]
    """Answers given so far."""
    steps: Num[Array, "*task"]
    """Environment steps taken so far."""
    feedback: Feedback | None
    """What was asked and answered; None where the task pays."""

    @staticmethod
    def of(state: RLHFState) -> "Adapted":
        """Where RLHF stands."""
        return Adapted(state.ppo.agent, state.answers.count, state.steps, state.answers.feedback)


def rlhf_stages(
    states: RLHFState,
    family: TaskFamily,
    tasks: Task,
    config: RLHFConfig,
    practice: int = 1,
) -> Iterator[Adapted]:
    """RLHF on a batch of tasks: where it stands at first, and after each round.

    Args:
        states: of each task, with a leading dimension `task`.
        family: whose tasks these are.
        tasks: likewise.
        config: how agents ask and learn.
        practice: equal parts of the updates after the last answer, after each of which it is told
            where RLHF stands; where they are watched, it is after each check.
    """
    learning = family.without_termination()
    yield Adapted.of(states)
    for _ in range(config.rounds):
        states = _round(states, learning, tasks, config)
        yield Adapted.of(states)
    parts = config.checks or (practice if config.final_updates else 0)
    for _ in range(parts):
        states = _practise(states, learning, tasks, config, config.final_updates // parts)
        yield Adapted.of(states)


@partial(jax.jit, static_argnames=("family", "config"))
def _round(states, family, tasks, config):
    one = lambda state, sampler: rlhf.run_round(state, sampler, config)[0]
    return _on_each(one, states, family, tasks, config)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _practise(states, family, tasks, config, updates):
    def one(state, sampler):
        if config.checks:
            return rlhf.final_part(state, sampler, config)[0]
        return rlhf.optimise_policy(state, sampler, config, updates)[0]

    return _on_each(one, states, family, tasks, config)


def _on_each(one, states, family, tasks, config):
    of_task = lambda state, task: one(state, CompiledSampler(family, task, config.ppo.num_envs))
    return jax.vmap(of_task)(states, tasks)


def adapt_rewards(
    keys: Key[Array, " task"],
    reward: GradientReward,
    library: Library,
    family: TaskFamily,
    tasks: Task,
    config: RLHFConfig,
) -> tuple[LearnedReward, Answers]:
    """Ask about the library in every task: the reward that pays for it, and the answers.

    `keys` has one for each of `tasks`; what is returned has leaves with a leading `task`.
    """

    def one(key: PRNGKeyArray, task: Task) -> tuple[LearnedReward, Answers]:
        belief, answers = ask_about(key, reward, library, family, task, config)
        return learned_reward(belief, library.clips, family, answers, config), answers

    return jax.vmap(one)(keys, tasks)


def pays(rewards: LearnedReward) -> RewardSource:
    """Each task's trajectories by the reward of that task."""
    return lambda trajectory: jax.vmap(lambda reward, t: reward(t))(rewards, trajectory)
