"""How far held-out tasks are taught, all of them at once, and what that takes."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs.base import TaskedEnv, TaskFamily, TestedFamily
from metarlhf.experiments.references import References, mean_returns
from metarlhf.meta.gradient_prior import GradientPrior, adapt_by_gradient
from metarlhf.meta.inner import InnerLoop, begin_tasks, judge_tasks, play_and_adapt, step_tasks
from metarlhf.meta.prior import Prior
from metarlhf.meta.tasks import count_of, for_each
from metarlhf.networks import Agent
from metarlhf.reward import EnsembleConfig
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


class Lesson(NamedTuple):
    """What came of teaching many tasks: how well each went, and where it ended."""

    curve: Curve
    agents: Agent
    """As taught; leaves have a leading dimension `task`."""
    feedback: Feedback | None
    """What was asked and answered, likewise; None where the task paid."""


def teach(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: Prior | GradientPrior,
    config: rlhf.RLHFConfig,
) -> Lesson:
    """Teach every task from a prior of either kind."""
    if isinstance(prior, GradientPrior):
        return teach_by_gradient(key, family, tasks, prior, config)
    return teach_from_prior(key, family, tasks, prior, config)


def teach_by_gradient(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: GradientPrior,
    config: rlhf.RLHFConfig,
    episodes: int = 8,
    steps: int | None = None,
) -> Lesson:
    """Teach every task by gradient steps, as many as meta-training took unless `steps` says so.

    All answers are given before the first step.
    """
    adapt_key, eval_key = jax.random.split(key)
    policy = prior.shape.policy
    steps = policy.inner_steps if steps is None else steps
    loop, answers = adapt_by_gradient(adapt_key, family, tasks, prior, config, steps)
    labels = float(np.mean(answers.count)) if answers else 0.0
    each = [jax.tree.map(lambda x: x[step], loop.agents) for step in range(steps + 1)]
    returns = [mean_returns(eval_key, family, tasks, agent, episodes) for agent in each]
    curve = Curve(
        labels=np.array([0.0] + [labels] * steps),
        steps=np.arange(steps + 1.0) * policy.episodes * family.horizon,
        returns=np.stack(returns),
    )
    return Lesson(curve, each[-1], answers.feedback if answers else None)


def teach_from_prior(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: Prior,
    config: rlhf.RLHFConfig,
    episodes: int = 8,
) -> Lesson:
    """Teach every task by RLHF, beginning with what was meta-learned."""
    start_key, eval_key = jax.random.split(key)
    states = _start_from_prior(start_key, family.without_termination(), tasks, prior, config)
    return _teach(eval_key, family, tasks, states, config, episodes, 1)


def teach_from_scratch(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    config: rlhf.RLHFConfig,
    ensemble: EnsembleConfig | None = None,
    episodes: int = 8,
    practice: int = 1,
) -> Lesson:
    """Teach every task by RLHF, beginning with random networks.

    The updates after the last answer are measured in `practice` equal parts, or where they are
    watched after each check.

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
    return _teach(eval_key, family, tasks, states, config, episodes, practice)


def _teach(key, family, tasks, states, config, episodes, practice) -> Lesson:
    """Round after round, measured after each: by whole episodes of the policy's mode."""
    learning = family.without_termination()
    points = [_point(key, family, tasks, states, episodes)]
    for _ in range(config.rounds):
        states = _round(states, learning, tasks, config)
        points.append(_point(key, family, tasks, states, episodes))
    parts = config.checks or (practice if config.final_updates else 0)
    for _ in range(parts):
        states = _practise(states, learning, tasks, config, config.final_updates // parts)
        points.append(_point(key, family, tasks, states, episodes))
    curve = Curve(*map(np.stack, zip(*points, strict=True)))
    return Lesson(curve, states.ppo.agent, states.answers.feedback)


def _point(key, family, tasks, states, episodes):
    labels, steps = np.mean(states.answers.count), np.mean(states.steps)
    return labels, steps, np.asarray(mean_returns(key, family, tasks, states.ppo.agent, episodes))


@partial(jax.jit, static_argnames=("family", "config"))
def _start_from_prior(key, family, tasks, prior, config):
    one = lambda key, task: rlhf.start(
        key,
        CompiledSampler(family, task, config.ppo.num_envs),
        prior.agent,
        prior.belief,
        config,
        prior.library,
    )
    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks)


@partial(jax.jit, static_argnames=("family", "config", "ensemble"))
def _start_from_scratch(key, family, tasks, config, ensemble):
    one = lambda key, task: rlhf.from_scratch(
        key, CompiledSampler(family, task, config.ppo.num_envs), config, ensemble
    )
    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks)


@partial(jax.jit, static_argnames=("family", "config"))
def _round(states, family, tasks, config):
    return jax.vmap(
        lambda s, task: rlhf.run_round(
            s, CompiledSampler(family, task, config.ppo.num_envs), config
        )[0]
    )(states, tasks)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _practise(states, family, tasks, config, updates):
    if config.checks:
        one = lambda s, task: rlhf.stage(
            s, CompiledSampler(family, task, config.ppo.num_envs), config
        )[0]
    else:
        one = lambda s, task: rlhf.practise(
            s, CompiledSampler(family, task, config.ppo.num_envs), config, updates
        )[0]
    return jax.vmap(one)(states, tasks)


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
