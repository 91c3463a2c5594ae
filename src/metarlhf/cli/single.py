"""What the commands that teach a single task share."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from metarlhf import rlhf
from metarlhf.cli.options import one_of_both
from metarlhf.envs import Environment, TaskFamily, Tasks
from metarlhf.errors import UserError
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.networks import Agent
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import EVALUATION, CompiledSampler
from metarlhf.sampling.compiled import evaluate
from metarlhf.types import Task

MOST_TASKS = 1_000_000
"""Held-out tasks that there are, by number: all before one are drawn with it."""


def check_number(number: int) -> None:
    """Refuse a number that no held-out task has.

    Raises:
        ValueError: it is negative, or beyond what is ever drawn.
    """
    if not 0 <= number < MOST_TASKS:
        raise ValueError(f"number must be from 0 to {MOST_TASKS - 1}, but is {number}")


def check_env(options: Any) -> None:
    """Refuse what does not go with a simulator (`--env`), or is for one alone.

    Raises:
        ValueError: it is so.
    """
    usual = type(options)
    if options.env is None:
        if (options.segment_length, options.workers) != (usual.segment_length, usual.workers):
            raise ValueError("--segment-length and --workers are for --env: a family has its own")
        return
    if options.segment_length < 2:
        raise ValueError(f"segment_length must be 2 or more, but is {options.segment_length}")
    if options.task != usual.task:
        raise ValueError(f"either the task {options.task!r} or --env {options.env}, not both")
    if options.number:
        raise ValueError(f"--number is for task families, and --env {options.env} is one task")


def must_step_beside(argv: Sequence[str], env: str) -> None:
    """Refuse an `--env` that is compiled, and a task beside one.

    Raises:
        UserError: it is so.
    """
    one_of_both(argv, env)
    if env.startswith("gymnax:"):
        raise UserError(f"{env} is compiled with all else: name it as the task, with --vary")


def task_number(family: Tasks, number: int) -> Task:
    """One of the family's held-out tasks, which meta-training never sees."""
    return jax.tree.map(lambda x: x[number], held_out_tasks(family, number + 1))


EPISODES = 16
"""Episodes whose mean return is told of an agent, unless options say how many."""


@partial(jax.jit, static_argnames=("family", "config"))
def run_round(
    state: rlhf.RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> rlhf.RLHFState:
    """A round of asking and learning, compiled."""
    return rlhf.run_round(state, CompiledSampler(family, task, config.ppo.num_envs), config)[0]


@partial(jax.jit, static_argnames=("family", "config"))
def practise(
    state: rlhf.RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> rlhf.RLHFState:
    """A stage of the updates after the last regular answer, compiled."""
    return rlhf.stage(state, CompiledSampler(family, task, config.ppo.num_envs), config)[0]


@partial(jax.jit, static_argnames=("family", "episodes"))
def _returns(key, family, task, agent, episodes):
    return evaluate(key, family, task, agent.actor, episodes)


def true_return(
    key: PRNGKeyArray, family: Environment, task: Task, agent: Agent, episodes: int = EPISODES
) -> float:
    """Mean true return of whole episodes of the policy's mode."""
    key = jax.random.fold_in(key, EVALUATION)
    return float(np.mean(_returns(key, family, task, agent, episodes)))


def check_members(config: RLHFConfig, ensemble: EnsembleConfig) -> None:
    """Refuse pessimism where there is nobody to disagree.

    Raises:
        ValueError: it is so.
    """
    if config.pessimism and ensemble.members < 2:
        raise ValueError(
            f"config.pessimism is {config.pessimism}, but ensemble.members is {ensemble.members}: "
            "one reward network alone disagrees with nobody"
        )
