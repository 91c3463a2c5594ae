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
from metarlhf.meta.evaluate import held_out_tasks
from metarlhf.networks import Agent
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.never import Forbids, true_cost
from metarlhf.rollout import EVALUATION, evaluate, play_episodes
from metarlhf.runs import UserError
from metarlhf.types import Task


def check_number(number: int) -> None:
    """Refuse a number that no held-out task has.

    Raises:
        ValueError: it is negative.
    """
    if number < 0:
        raise ValueError(f"number must be 0 or more, but is {number}")


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


@partial(jax.jit, static_argnames=("family", "config"))
def run_round(
    state: rlhf.RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> rlhf.RLHFState:
    """A round of asking and learning, compiled."""
    return rlhf.run_round(state, family, task, config)[0]


@partial(jax.jit, static_argnames=("family", "config"))
def practise(
    state: rlhf.RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> rlhf.RLHFState:
    """A stage of the updates after the last regular answer, compiled."""
    return rlhf.stage(state, family, task, config)[0]


@partial(jax.jit, static_argnames=("family", "episodes"))
def _returns(key, family, task, agent, episodes):
    return evaluate(key, family, task, agent.actor, episodes)


def true_return(
    key: PRNGKeyArray, family: Environment, task: Task, agent: Agent, episodes: int = 16
) -> float:
    """Mean true return of whole episodes of the policy's mode."""
    key = jax.random.fold_in(key, EVALUATION)
    return float(np.mean(_returns(key, family, task, agent, episodes)))


def watched(state: rlhf.RLHFState) -> dict[str, Any]:
    """What the last check found, for a run's metrics."""
    watch = state.watch
    if watch is None or not int(watch.checks):
        return {}
    return {
        "check_answers": int(watch.asked),
        "liked": float(watch.liked),
        "foreseen": float(watch.foreseen),
        "halted": bool(watch.halted),
    }


def check_marks(config: RLHFConfig, family: TaskFamily) -> None:
    """Refuse that somebody marks what must never be where there is no such thing.

    Raises:
        UserError: it is so.
    """
    if config.never.clips and not isinstance(family, Forbids):
        raise UserError(
            f"--config.never.clips is {config.never.clips}, but nothing is forbidden in "
            f"{family.name} that a simulated person could mark: name a family where something is, "
            "such as navigation/hazard"
        )


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
    if not isinstance(family, Forbids):
        return {}
    key = jax.random.fold_in(key, EVALUATION)
    each = (_costs(key, family, task, agent, episodes, mode) for mode in (True, False))
    return dict(zip(("cost", "cost_exploring"), map(float, each), strict=True))


def cost_words(result: dict[str, Any]) -> list[str]:
    """What a run's forbidden steps came to, for a person."""
    if "cost" not in result:
        return []
    before, after, exploring = (
        f"{result[name]:.2f}" for name in ("cost_before", "cost", "cost_exploring")
    )
    return [
        f"Forbidden steps in an episode: {before} -> {after}, and {exploring} while it explores."
    ]


def halted(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether practice was halted, as `drive` asks."""
    return bool(rows) and bool(rows[-1].get("halted"))


def parting(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the checks of a run came to, for its result."""
    checks = [row for row in rows if "liked" in row]
    if not checks:
        return {}
    return {
        "checks": [
            {name: row[name] for name in ("steps", "return", "liked", "foreseen")} for row in checks
        ],
        "check_answers": checks[-1]["check_answers"],
        "halted": checks[-1]["halted"],
    }


def parted_words(result: dict[str, Any]) -> list[str]:
    """The same for a person."""
    if "checks" not in result:
        return []
    liked = ", ".join(f"{check['liked']:.0%}" for check in result["checks"])
    foreseen = ", ".join(f"{check['foreseen']:.0%}" for check in result["checks"])
    ended = "Practice was halted, and the" if result["halted"] else "The"
    return [
        f"With {result['check_answers']} answers more practice was watched: the newest agent was "
        f"liked better than the best before in {liked} of episodes; the reward expected "
        f"{foreseen}. {ended} best is kept."
    ]


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
