"""Meta-training by gradients: an initialisation of policy, value function and reward, jointly.

The inner loop is RLHF by gradient steps. In each task of a batch: ask a few questions about clips
of the pool, adapt the reward to the answers (MAML with learned step sizes), then adapt the policy
on what the adapted reward pays (ProMP, MAML or FOMAML). The outer loop moves the policy's start,
its step sizes and its value function to where adapted policies do well, paid by the reward adapted
to many more answers; and the reward's start and step sizes to where few answers explain others. New
clips go to the pool, so that either sees ever better behaviour of the other.

With `reward="task"` the same loop runs on what the task pays, and nobody is asked: meta-RL.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.devices import on_all, spread
from metarlhf.envs.base import TaskFamily
from metarlhf.envs.registry import check_name
from metarlhf.feedback import Library
from metarlhf.meta import outer, reward_gradient
from metarlhf.meta.adaptation import adapt_rewards, pays
from metarlhf.meta.config import JointGradientConfig
from metarlhf.meta.inner import InnerLoop, RewardSource
from metarlhf.meta.outer import MetaRLState
from metarlhf.meta.prior import GradientPrior, GradientShape
from metarlhf.meta.reward_gradient import GradientRewardState
from metarlhf.meta.tasks import draw_clips, for_each, put
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledTaskSampler
from metarlhf.sampling.compiled import sample_tasks
from metarlhf.training import Loop
from metarlhf.training import iterate as run
from metarlhf.types import Task

Metrics = dict[str, Float[Array, ""]]


class LearnedRewardState(eqx.Module):
    """What meta-training of a learned reward goes on from."""

    training: GradientRewardState
    pool: Library


class JointGradientState(eqx.Module):
    """All there is to know to go on; `learned` is None where the task pays."""

    policy: MetaRLState
    learned: LearnedRewardState | None
    key: PRNGKeyArray

    @property
    def iteration(self) -> Integer[Array, ""]:
        """Meta-updates done."""
        return self.policy.iteration


def _learned_on(family: TaskFamily, config: JointGradientConfig) -> TaskFamily:
    """Where a reward is learned, an episode that ends at the hidden goal would give it away."""
    return family if config.reward == "task" else family.without_termination()


@partial(jax.jit, static_argnames=("family", "config"))
def init(key: PRNGKeyArray, family: TaskFamily, config: JointGradientConfig) -> JointGradientState:
    """Random networks, and a pool of what an untrained policy does."""
    family = _learned_on(family, config)
    policy_key, reward_key, task_key, play_key, pool_key, learn_key, key = jax.random.split(key, 7)
    policy = outer.init(policy_key, family, config.policy)
    if config.reward == "task":
        return JointGradientState(policy, None, key)
    count = config.policy.meta_batch
    agents = for_each(count, policy.agent)
    tasks = sample_tasks(task_key, family, count)
    played = CompiledTaskSampler(family).episodes(play_key, tasks, agents, 4)
    pool = draw_clips(pool_key, family, played, config.pool)
    training = reward_gradient.init(reward_key, family, config.model, config.total_reward_steps)
    learned = LearnedRewardState(training, pool)
    learned, _ = _ask_and_learn(
        learn_key, learned, family, tasks, config.first_reward_steps, config
    )
    return JointGradientState(policy, learned, key)


def meta_iterate(
    state: JointGradientState, family: TaskFamily, config: JointGradientConfig
) -> tuple[JointGradientState, Metrics]:
    """One iteration of meta-training. Pure.

    Metrics hold the true mean return before and after adaptation, for people to see.
    """
    family = _learned_on(family, config)
    key, task_key, ask_key, play_key, learn_key = jax.random.split(state.key, 5)
    tasks = spread(sample_tasks(task_key, family, config.policy.meta_batch))
    inner = judge = None
    if state.learned:
        inner, judge = _rewards(ask_key, state.learned, family, tasks, config)
    policy, loop, metrics = outer.meta_step(
        play_key, state.policy, CompiledTaskSampler(family), config.policy, tasks, inner, judge
    )
    learned = state.learned
    if learned:
        pool_key, learn_key = jax.random.split(learn_key)
        pool = _renewed(pool_key, learned.pool, family, loop, config)
        learned = LearnedRewardState(learned.training, pool)
        learned, of_reward = _ask_and_learn(
            learn_key, learned, family, tasks, config.reward_steps, config
        )
        metrics |= of_reward
    return JointGradientState(policy, learned, key), metrics


def _rewards(
    key: PRNGKeyArray,
    learned: LearnedRewardState,
    family: TaskFamily,
    tasks: Task,
    config: JointGradientConfig,
) -> tuple[RewardSource, RewardSource]:
    """What pays the inner loop, of few answers, and the outer loop, of many."""
    clip_key, few_key, many_key = jax.random.split(key, 3)
    drawn = jax.random.choice(clip_key, config.pool, (config.clips,), replace=False)
    clips = learned.pool[drawn]

    def adapted(key: PRNGKeyArray, asking: RLHFConfig) -> RewardSource:
        keys = jax.random.split(key, config.policy.meta_batch)
        return pays(adapt_rewards(keys, learned.training.reward, clips, family, tasks, asking)[0])

    few = config.asking(config.inner_labels, "information-gain")
    return adapted(few_key, few), adapted(many_key, config.asking(config.outer_labels, "uniform"))


def _renewed(
    key: PRNGKeyArray,
    pool: Library,
    family: TaskFamily,
    loop: InnerLoop,
    config: JointGradientConfig,
) -> Library:
    """The pool with some clips of what was just played, before adaptation and after."""
    draw_key, place_key = jax.random.split(key)
    played = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), loop.played)
    return put(place_key, pool, draw_clips(draw_key, family, played, config.pool_new))


def _ask_and_learn(
    key: PRNGKeyArray,
    learned: LearnedRewardState,
    family: TaskFamily,
    tasks: Task,
    steps: int,
    config: JointGradientConfig,
) -> tuple[LearnedRewardState, Metrics]:
    """`steps` meta-gradients of the reward, each from fresh answers about clips of the pool."""

    def step(training, key):
        clip_key, key = jax.random.split(key)
        drawn = jax.random.randint(clip_key, (config.clips,), 0, config.pool)
        return reward_gradient.train_step(
            training, key, family, tasks, learned.pool[drawn], config.teacher, config.model,
            config.total_reward_steps,
        )  # fmt: skip

    training, metrics = jax.lax.scan(step, learned.training, jax.random.split(key, steps))
    return LearnedRewardState(training, learned.pool), jax.tree.map(jnp.mean, metrics)


def iterate(
    state: JointGradientState, family: TaskFamily, config: JointGradientConfig
) -> tuple[JointGradientState, Metrics]:
    """`meta_iterate`, compiled and on all devices."""
    return on_all(partial(_iterate, family, config), config.policy.meta_batch)(state)


@partial(jax.jit, static_argnums=(0, 1))
def _iterate(family, config, state):
    return meta_iterate(state, family, config)


def training(
    key: PRNGKeyArray, family: TaskFamily, config: JointGradientConfig
) -> Loop[JointGradientState]:
    """Meta-training as a `training.Loop`; a step is an iteration.

    Args:
        key: all randomness follows from it.
        family: whose tasks it learns from.
        config: how it is meta-trained.
    """

    def step(state: JointGradientState, done: int) -> tuple[JointGradientState, dict[str, float]]:
        state, metrics = iterate(state, family, config)
        return state, {name: float(value) for name, value in metrics.items()}

    return Loop(lambda: init(key, family, config), step, config.iterations, unit="iterations")


def meta_train(
    state: JointGradientState, family: TaskFamily, config: JointGradientConfig
) -> Iterator[tuple[JointGradientState, dict[str, Any]]]:
    """Meta-train until the iterations are done, yielding state and metrics after each.

    Raises:
        DivergedError: the state or a return is no number any more.
    """
    loop = training(state.key, family, config)
    for after, metrics in run(loop, state, done=int(state.iteration)):
        yield after, {"iteration": int(after.iteration)} | metrics


def prior_of(
    state: JointGradientState, family: TaskFamily, config: JointGradientConfig
) -> GradientPrior:
    """What has been meta-learned so far, to teach new tasks from.

    Raises:
        ValueError: the family's name stands for another one, see `envs.check_name`.
    """
    check_name(family)
    shape, reward, library = GradientShape(family.name, config.policy), None, None
    if state.learned:
        shape = replace(shape, model=config.model, library=config.library)
        # Where the pool's clips stand is random already, so its first ones are as good as any.
        library = state.learned.pool[jnp.arange(config.library)]
        reward = state.learned.training.reward
    return GradientPrior(
        agent=state.policy.agent, rule=state.policy.rule, belief=reward, library=library,
        shape=shape,
    )  # fmt: skip
