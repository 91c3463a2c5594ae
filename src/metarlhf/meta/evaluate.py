"""How much of what the true reward teaches is reached on held-out tasks.

Normalised return of a task: 0 is what an untrained policy gets, 1 what PPO with the true reward
ends with, its step size annealed to nothing, both on that task; all policies act by their mode.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import ppo, rlhf
from metarlhf.envs.base import TaskFamily, Tasks
from metarlhf.envs.host import TestedFamily
from metarlhf.meta.gradient_prior import GradientPrior, adapt_by_gradient
from metarlhf.meta.prior import Prior
from metarlhf.networks import Agent
from metarlhf.reward import EnsembleConfig
from metarlhf.rollout import evaluate
from metarlhf.types import Feedback, Task

# Folded into the key of held-out tasks, so that no seed of meta-training draws the same ones.
SPLITS = {"validation": 0x7E57, "test": 0x7E58}


def held_out_tasks(
    family: Tasks, count: int, split: Literal["validation", "test"] = "test"
) -> Task:
    """`count` tasks that meta-training never sees; always the same ones.

    Presets are chosen on the "validation" tasks, what is published is measured on the others. Where
    a family says itself what it is tested on, these are the first of them.
    """
    if isinstance(family, TestedFamily) and split == "test":
        return jax.tree.map(lambda x: x[:count], family.test_tasks())
    key = jax.random.fold_in(jax.random.key(0), SPLITS[split])
    return jax.vmap(family.sample)(jax.random.split(key, count))


class References(NamedTuple):
    """The ends of the scale, for each task."""

    untrained: Float[np.ndarray, " task"]
    oracle: Float[np.ndarray, " task"]

    def normalise(self, returns: Float[np.ndarray, "*any task"]) -> Float[np.ndarray, "*any task"]:
        """Returns as shares of the way from untrained to oracle."""
        return (returns - self.untrained) / (self.oracle - self.untrained)

    @property
    def spread(self) -> float:
        """Standard deviation from task to task of what an untrained policy gets."""
        return float(np.std(self.untrained))

    @property
    def gained(self) -> float:
        """What PPO gains on an untrained policy, over all tasks."""
        return float(np.mean(self.oracle - self.untrained))

    @property
    def hardly_learns(self) -> bool:
        """Whether that is less than untrained returns differ from task to task: shares of it then
        say little.
        """
        return self.gained < self.spread

    @property
    def gains_nothing_in(self) -> int:
        """In how many tasks PPO gains nothing: a share of that says nothing, or anything."""
        return int(np.sum(self.oracle <= self.untrained))

    def share(self, returns: Float[np.ndarray, "*any task"]) -> Float[np.ndarray, "*any task"]:
        """1 less what returns are short of PPO's on the same task, in units of what PPO gains over
        all tasks. So 1 is as PPO in every task, the mean is the share of means, and a task in
        which PPO gains little weighs no more than others.
        """
        return 1.0 - (self.oracle - returns) / self.gained

    @property
    def is_a_scale(self) -> bool:
        """Whether both ends lie apart in every task."""
        far = np.abs(self.oracle - self.untrained)
        return bool((far > 1e-6 * np.maximum(np.abs(self.oracle), 1e-6)).all())

    def first(self, count: int) -> "References":
        """Those of the first `count` tasks."""
        return References(self.untrained[:count], self.oracle[:count])


@partial(jax.jit, static_argnames=("family", "episodes"))
def _returns(key, family, tasks, agents, episodes):
    """Mean true return of each task's agent."""
    one = lambda key, task, agent: evaluate(key, family, task, agent.actor, episodes).mean()
    return jax.vmap(one)(jax.random.split(key, _count(tasks)), tasks, agents)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _ppo_updates(states, family, tasks, config, updates):
    """PPO on the true reward of each task."""
    one = lambda state, task: ppo.iterate_many(state, family, task, config, updates)[0]
    return jax.vmap(one)(states, tasks)


def _count(tasks: Task) -> int:
    return jax.tree.leaves(tasks)[0].shape[0]


def references(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    config: ppo.PPOConfig,
    untrained: int = 8,
) -> References:
    """Train PPO on the true reward of every task, until its budget is spent or it has converged.

    What an untrained policy gets is the mean over `untrained` fresh networks.
    """
    agent_key, train_key, eval_key = jax.random.split(key, 3)
    count = _count(tasks)
    begin = jax.jit(jax.vmap(lambda key, task: ppo.init(key, family, task, config)))
    fresh = [
        _returns(eval_key, family, tasks, begin(jax.random.split(k, count), tasks).agent, 4)
        for k in jax.random.split(agent_key, untrained)
    ]
    states, means = begin(jax.random.split(train_key, count), tasks), []
    for done in range(0, config.num_updates, config.evaluate_every):
        updates = min(config.evaluate_every, config.num_updates - done)
        states = _ppo_updates(states, family, tasks, config, updates)
        oracle = _returns(eval_key, family, tasks, states.agent, config.evaluation_episodes)
        means.append(float(oracle.mean()))
        if ppo.converged(means, config):
            break
    return References(np.mean(fresh, axis=0), np.asarray(oracle))


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
    curve = Curve(
        labels=np.array([0.0] + [labels] * steps),
        steps=np.arange(steps + 1.0) * policy.episodes * family.horizon,
        returns=np.stack([_returns(eval_key, family, tasks, agent, episodes) for agent in each]),
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
    return labels, steps, np.asarray(_returns(key, family, tasks, states.ppo.agent, episodes))


@partial(jax.jit, static_argnames=("family", "config"))
def _start_from_prior(key, family, tasks, prior, config):
    one = lambda key, task: rlhf.start(
        key, family, task, prior.agent, prior.belief, config, prior.library
    )
    return jax.vmap(one)(jax.random.split(key, _count(tasks)), tasks)


@partial(jax.jit, static_argnames=("family", "config", "ensemble"))
def _start_from_scratch(key, family, tasks, config, ensemble):
    one = lambda key, task: rlhf.from_scratch(key, family, task, config, ensemble)
    return jax.vmap(one)(jax.random.split(key, _count(tasks)), tasks)


@partial(jax.jit, static_argnames=("family", "config"))
def _round(states, family, tasks, config):
    return jax.vmap(lambda s, task: rlhf.run_round(s, family, task, config)[0])(states, tasks)


@partial(jax.jit, static_argnames=("family", "config", "updates"))
def _practise(states, family, tasks, config, updates):
    if config.checks:
        one = lambda s, task: rlhf.stage(s, family, task, config)[0]
    else:
        one = lambda s, task: rlhf.practise(s, family, task, config, updates)[0]
    return jax.vmap(one)(states, tasks)
