"""Where RLHF on one task stands: returns, answers, forbidden steps, and what a watch found."""

from functools import partial
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs import Environment, TaskFamily
from metarlhf.networks import Agent
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.constraints import CostFamily, true_cost
from metarlhf.sampling import EVALUATION, CompiledSampler, Sampler
from metarlhf.sampling.compiled import evaluate, play_episodes
from metarlhf.types import Task

EPISODES = 16
"""Episodes whose mean return is told of an agent, unless options say how many."""


def standing(state: rlhf.RLHFState, sampler: Sampler, config: RLHFConfig) -> dict[str, Any]:
    """What a run's metrics say of where RLHF on one task stands.

    Whoever answers, or watches, sees the task as it is without termination; `return` is that of
    the task itself, and where checks compare what may be another one, `return_as_shown` is told.
    """
    actor, key = state.ppo.agent.actor, jax.random.fold_in(state.key, EVALUATION)
    mean = lambda sampler: float(np.mean(sampler.evaluate(key, actor, EPISODES)))
    row = {
        "labels": int(state.answers.count),
        "steps": int(state.steps),
        "return": mean(sampler),
    }
    learning = sampler.without_termination()
    if config.checks and learning != sampler:
        row["return_as_shown"] = mean(learning)
    row |= watched(state) | rlhf.constraint_metrics(state)
    if isinstance(learning, CompiledSampler):
        family = cast(TaskFamily, learning.env)
        row |= forbidden_steps(state.key, family, learning.task, state.ppo.agent)
    return row


def watched(state: rlhf.RLHFState) -> dict[str, Any]:
    """What the last check found, for a run's metrics."""
    checks = state.checks
    if checks is None or not int(checks.count):
        return {}
    return {
        "check_answers": int(checks.asked),
        "liked": float(checks.liked),
        "foreseen": float(checks.foreseen),
        "halted": bool(checks.halted),
    }


@partial(jax.jit, static_argnames=("family", "episodes", "deterministic"))
def _costs(key, family, task, agent, episodes, deterministic):
    played = play_episodes(key, family, task, agent.actor, episodes, deterministic)
    return true_cost(family, task, played.obs, played.action).sum(-1).mean()


def forbidden_steps(
    key: PRNGKeyArray, family: TaskFamily, task: Task, agent: Agent, episodes: int = 16
) -> dict[str, float]:
    """Mean number of an episode's steps that must never be: of the policy's mode, and exploring.

    Nothing where nothing is forbidden.
    """
    if not isinstance(family, CostFamily):
        return {}
    key = jax.random.fold_in(key, EVALUATION)
    each = (_costs(key, family, task, agent, episodes, mode) for mode in (True, False))
    return dict(zip(("cost", "cost_exploring"), map(float, each), strict=True))


@partial(jax.jit, static_argnames=("family", "episodes"))
def _returns(key, family, task, agent, episodes):
    return evaluate(key, family, task, agent.actor, episodes)


def true_return(
    key: PRNGKeyArray, family: Environment, task: Task, agent: Agent, episodes: int = EPISODES
) -> float:
    """Mean true return of whole episodes of the policy's mode."""
    key = jax.random.fold_in(key, EVALUATION)
    return float(np.mean(_returns(key, family, task, agent, episodes)))
