"""How well held-out tasks are done after adaptation, all of them at once, and what that takes."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs.base import TaskedEnv, TaskFamily, TestedFamily
from metarlhf.experiments.references import References, mean_returns
from metarlhf.meta.adaptation import Adapted, rlhf_stages
from metarlhf.meta.inner import InnerLoop, begin_tasks, judge_tasks, play_and_adapt, step_tasks
from metarlhf.meta.prior import GradientPrior, Prior
from metarlhf.meta.tasks import count_of, for_each
from metarlhf.networks import Agent
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledSampler, HostTaskSampler, TaskSampler
from metarlhf.types import Feedback, Task


class Curve(NamedTuple):
    """How well each task is done after so many answers and environment steps."""

    labels: Float[np.ndarray, " point"]
    steps: Float[np.ndarray, " point"]
    returns: Float[np.ndarray, "point task"]

    def normalise(self, references: References) -> "Curve":
        """The same with normalised returns."""
        return self._replace(returns=references.normalise(self.returns))


class AdaptationResult(NamedTuple):
    """What came of adapting to many tasks: how well each is done, and where it ended."""

    curve: Curve
    agents: Agent
    """As adapted; leaves have a leading dimension `task`."""
    feedback: Feedback | None
    """What was asked and answered, likewise; None where the task paid."""


def adapt_from_prior(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: Prior,
    config: RLHFConfig,
    episodes: int = 8,
    steps: int | None = None,
) -> AdaptationResult:
    """Adapt to every task from a prior, measured after each round of questions or gradient step.

    Args:
        key: all randomness follows from it.
        family: whose tasks these are.
        tasks: leaves have a leading dimension `task`.
        prior: of either kind.
        config: how questions are asked and the agent learns.
        episodes: of the policy's mode that a return is the mean of.
        steps: gradient steps, see `Prior.adapt`.
    """
    adapt_key, eval_key = jax.random.split(key)
    stages = prior.stages(adapt_key, family, tasks, config, steps)
    return _measured(eval_key, family, tasks, stages, episodes)


def adapt_from_scratch(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    config: RLHFConfig,
    ensemble: EnsembleConfig | None = None,
    episodes: int = 8,
    practice: int = 1,
) -> AdaptationResult:
    """Learn every task by RLHF, beginning with random networks.

    Args: as of `adapt_from_prior`, and
        ensemble: the reward's networks.
        practice: equal parts in which the updates after the last answer are measured; where they
            are watched it is after each check.

    Raises:
        ValueError: they do not part equally.
    """
    if config.final_updates % practice:
        raise ValueError(
            f"final_updates ({config.final_updates}) cannot be measured in {practice} equal parts: "
            "choose a practice that divides them"
        )
    start_key, eval_key = jax.random.split(key)
    states = _start_from_scratch(start_key, family.without_termination(), tasks, config, ensemble)
    stages = rlhf_stages(states, family, tasks, config, practice)
    return _measured(eval_key, family, tasks, stages, episodes)


def _measured(
    key: PRNGKeyArray, family: TaskFamily, tasks: Task, stages: Iterator[Adapted], episodes: int
) -> AdaptationResult:
    points, last = [], None
    for last in stages:
        returns = mean_returns(key, family, tasks, last.agent, episodes)
        points.append((np.mean(last.labels), np.mean(last.steps), np.asarray(returns)))
    assert last is not None
    curve = Curve(*map(np.stack, zip(*points, strict=True)))
    return AdaptationResult(curve, last.agent, last.feedback)


@partial(jax.jit, static_argnames=("family", "config", "ensemble"))
def _start_from_scratch(key, family, tasks, config, ensemble):
    one = lambda key, task: rlhf.from_scratch(
        key, CompiledSampler(family, task, config.ppo.num_envs), config, ensemble
    )
    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks)


def play_and_adapt_from(
    key: PRNGKeyArray, sampler: TaskSampler, tasks: Task, prior: GradientPrior, steps: int
) -> InnerLoop:
    """Gradient steps on what `tasks` pay, in each from the prior's initialisation.

    Policies act by sampling, `prior.shape.policy.episodes` whole episodes in each task before any
    step and after each.
    """
    agents = for_each(count_of(tasks), prior.agent)
    return play_and_adapt(key, sampler, tasks, agents, prior.rule, prior.shape.policy, steps)


def returns_after(
    key: PRNGKeyArray, sampler: TaskSampler, tasks: Task, prior: GradientPrior, steps: int
) -> Float[np.ndarray, "step task"]:
    """Mean return in each task before any of `steps` gradient steps and after each."""
    return np.asarray(play_and_adapt_from(key, sampler, tasks, prior, steps).returns.mean(-1))


def successes_after(
    key: PRNGKeyArray,
    env: TaskedEnv,
    family: TestedFamily,
    tasks: Task,
    prior: GradientPrior,
    adaptation_episodes: int = 10,
    evaluation_episodes: int = 3,
) -> Float[np.ndarray, "2 task"]:
    """Share of episodes with a success at any step, before one gradient step and after it.

    Meta-World's protocol: one adaptation, which learns from ten episodes of a task by sampling, and
    then three by the policy's mode. `env` has a simulator for each of `tasks`.
    """
    play_key, *keys = jax.random.split(key, 3)
    config, sampler = prior.shape.policy, HostTaskSampler(family, env)
    before = for_each(count_of(tasks), prior.agent)
    trajectory = sampler.episodes(play_key, tasks, before, adaptation_episodes)
    after = _one_step(before, trajectory, prior.rule, config)
    until = family.until_success(tasks)

    def succeeded(key: PRNGKeyArray, agents: Agent) -> np.ndarray:
        played = sampler.episodes(key, until, agents, evaluation_episodes, deterministic=True)
        return np.asarray(played.terminated).any(-1).mean(-1)

    return np.stack([succeeded(k, agents) for k, agents in zip(keys, (before, after), strict=True)])


@partial(jax.jit, static_argnames=("config",))
def _one_step(agents, trajectory, learned_rule, config):
    samples, rule_states = (
        judge_tasks(agents, trajectory, config),
        begin_tasks(agents, learned_rule, config),
    )
    return step_tasks(agents, rule_states, samples, learned_rule, config)[0]
