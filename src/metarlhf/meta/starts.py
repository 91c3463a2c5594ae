"""Where gradient steps may begin without a meta-objective, to compare a meta-learned start with.

At random; or pretrained: one policy that PPO taught the average of all tasks, in as many steps as
meta-training had (the baseline of Finn et al. 2017). Neither has learned how to step, so each gets
the step size that does best on validation tasks.
"""

from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs import TaskFamily
from metarlhf.envs.base import Environment
from metarlhf.meta.evaluate import held_out_tasks, teach_by_gradient
from metarlhf.meta.gradient_prior import GradientPrior, GradientShape, blank
from metarlhf.meta.trials import AnyTask
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf import RLHFConfig

MULTIPLES = tuple(3.0**power for power in range(-4, 3))
"""Step sizes that are tried, in units of the one that meta-training began with."""
VALIDATION_TASKS = 16
# What other rules than descent have begun with is no step size of descent.
STEP_SIZE = 1.0
NOBODY = RLHFConfig(labels=0)


class Tuned(NamedTuple):
    """A start, and the step size that did best from there."""

    start: GradientPrior
    step_size: float


def random_start(key: PRNGKeyArray, shape: GradientShape) -> GradientPrior:
    """Networks like those of a prior of this shape, drawn at random, and plain gradient steps."""
    return blank(key, _plain(shape))


def pretrained_start(
    key: PRNGKeyArray, shape: GradientShape, family: TaskFamily, config: PPOConfig
) -> GradientPrior:
    """The same after PPO on a task of its own for each episode.

    `config` says how it learns; its budget and what its networks are like follow from `shape`.
    """
    start, policy = random_start(key, shape), shape.policy
    config = replace(
        config,
        total_steps=meta_training_steps(shape, family),
        normalise_obs=policy.normalise_obs,
        memory=None,
        squash=False,
        shared_torso=False,
    )
    env, no_task = _any_task(family), jnp.zeros(())
    state = ppo.init(key, env, no_task, config, start.agent)
    state, _ = ppo.iterate_many(state, env, no_task, config, config.num_updates)
    return eqx.tree_at(lambda s: s.agent, start, state.agent)


def meta_training_steps(shape: GradientShape, family: TaskFamily) -> int:
    """Environment steps that meta-training had."""
    policy = shape.policy
    episodes = policy.iterations * policy.meta_batch * policy.episodes
    return episodes * (policy.inner_steps + 1) * family.horizon


def tuned(key: PRNGKeyArray, start: GradientPrior, steps: int) -> Tuned:
    """With the step size from which the last of so many steps leads highest, in validation."""
    family = start.family
    tasks = held_out_tasks(family, VALIDATION_TASKS, "validation")

    def judged(multiple: float) -> float:
        lesson = teach_by_gradient(
            key, family, tasks, _scaled(start, multiple), NOBODY, steps=steps
        )
        found = float(np.mean(lesson.curve.returns[-1]))
        return found if np.isfinite(found) else -np.inf

    best = max(MULTIPLES, key=judged)
    return Tuned(_scaled(start, best), best * start.shape.policy.inner_lr)


def _plain(shape: GradientShape) -> GradientShape:
    """Plain descent by a step size that is an array: one program serves all that are tried."""
    policy = shape.policy
    policy = replace(
        policy,
        method="promp",
        inner_rule="sgd",
        inner_lr=policy.inner_lr if policy.inner_rule == "sgd" else STEP_SIZE,
        learn_inner_lr="tensor",
        learn_offset=False,
    )
    return replace(shape, policy=policy)


def _scaled(start: GradientPrior, multiple: Float[Array, ""] | float) -> GradientPrior:
    multiples = jax.tree.map(partial(jnp.full_like, fill_value=multiple), start.rule.multiples)
    return eqx.tree_at(lambda s: s.rule.multiples, start, multiples)


@cache
def _any_task(family: Environment) -> AnyTask:
    """Always the same object, so that compiled programs are found again."""
    return AnyTask(family)
