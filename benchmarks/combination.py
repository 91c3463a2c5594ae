"""Priors that gradient steps adapt: meta-trained, and taught with several numbers of answers.

All are kept (`benchmarks.kept`), as those of `benchmarks.few_shot` are.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from benchmarks.few_shot import Plan, from_scratch, taught
from benchmarks.harness import Stopwatch
from benchmarks.kept import kept, path_of
from metarlhf import envs, files
from metarlhf.envs.base import TaskFamily
from metarlhf.experiments.evaluation import Curve
from metarlhf.experiments.references import References
from metarlhf.experiments.study import needed
from metarlhf.meta import joint_gradient
from metarlhf.meta.adaptation import pays
from metarlhf.meta.config import GradientRewardConfig, JointGradientConfig
from metarlhf.meta.inner import play_and_adapt
from metarlhf.meta.presets import by_gradient
from metarlhf.meta.prior import GradientPrior, load_prior
from metarlhf.meta.tasks import count_of, for_each, held_out_tasks
from metarlhf.reward import GradientReward
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import Answers, ask_about
from metarlhf.rlhf.state import learned_reward
from metarlhf.sampling import CompiledTaskSampler
from metarlhf.sampling.compiled import evaluate
from metarlhf.types import Feedback, Task

# Answers, of which each number leads to a policy of its own.
LABELS = (5, 10, 20, 40)
ASKING = RLHFConfig(labels=max(LABELS), rounds=8)
SHARE = 0.9


def config_of(family: str, chosen: dict[str, Any], plan: Plan) -> JointGradientConfig:
    """Meta-training by gradients of as many episodes as the default has on this family."""
    config = by_gradient(family, chosen.get("method", "promp"))
    default = plan.preset(family).joint
    policy = replace(config.policy, meta_batch=10, episodes=10, **chosen)
    episodes = default.iterations * default.tasks * default.episodes
    iterations = episodes // policy.episodes_of_iteration
    config = replace(
        config,
        policy=replace(policy, iterations=iterations),
        # Small networks: larger ones would take most of the time, for answers that say little.
        model=GradientRewardConfig(hidden=(32, 32), batch_tasks=8),
    )
    return replace(config, first_reward_steps=2, reward_steps=1) if plan.quick else config


def gradient_prior_of(family: str, seed: int, config: JointGradientConfig) -> GradientPrior:
    """Meta-trained on the family with this seed, or read back."""
    path = path_of("gradient-prior", family, seed, config, made_by=[gradient_prior_of])
    if (path / files.DESCRIPTION).exists():  # written last
        return load_prior(path)
    made, watch = envs.make(family), Stopwatch()
    state = joint_gradient.init(jax.random.key(seed), made, config)
    *_, (state, metrics) = joint_gradient.meta_train(state, made, config)
    prior = joint_gradient.prior_of(state, made, config)
    about = {"seconds": watch.seconds, "seed": seed, "metrics": metrics, "config": repr(config)}
    prior.save(path, about)
    policy = config.policy
    print(
        f"  {family}, {policy.method}, adapts {policy.adapts}, seed {seed}: meta-trained in "
        f"{watch.seconds:.0f} s",
        flush=True,
    )
    return prior


@partial(jax.jit, static_argnames=("family",))
def returns_by_budget(
    key: PRNGKeyArray, family: TaskFamily, tasks: Task, prior: GradientPrior
) -> Float[Array, "budget collection task"]:
    """Mean true return of each task's policy mode before any inner step and after each.

    Answers are asked for once: with a smaller budget the same ones would have been given first.
    """
    learning, belief, library = family.without_termination(), prior.belief, prior.library
    assert belief is not None
    assert library is not None
    ask_key, adapt_key, play_key, eval_key = jax.random.split(key, 4)
    count = count_of(tasks)
    agents = for_each(count, prior.agent)

    def asked(key: PRNGKeyArray, task: Task) -> Answers:
        return ask_about(key, belief, library, learning, task, ASKING)[1]

    answers = jax.vmap(asked)(jax.random.split(ask_key, count), tasks)

    def rewarded(feedback: Feedback) -> Any:
        learned: GradientReward = belief.adapt(adapt_key, feedback)
        told = Answers(feedback, jnp.zeros((), jnp.int32))
        return learned_reward(learned, library.clips, learning, told, ASKING)

    def returns(agent: Any) -> Float[Array, " task"]:
        one = lambda key, task, agent: evaluate(key, family, task, agent.actor, 8).mean()
        return jax.vmap(one)(jax.random.split(eval_key, count), tasks, agent)

    def taught(budget: Array) -> Float[Array, "collection task"]:
        reward = pays(jax.vmap(rewarded)(first(answers.feedback, budget)))
        policy = prior.shape.policy
        loop = play_and_adapt(
            play_key, CompiledTaskSampler(learning), tasks, agents, prior.rule, policy,
            policy.inner_steps, reward, reward,
        )  # fmt: skip
        return jax.lax.map(returns, loop.agents)

    return jax.lax.map(taught, jnp.array(LABELS))


def first(feedback: Feedback, budget: Array) -> Feedback:
    """The first `budget` comparisons of each task alone."""
    comparisons = feedback.comparisons
    given = jnp.arange(comparisons.weight.shape[-1]) < budget
    weighed = replace(comparisons, weight=comparisons.weight * given)
    return replace(feedback, comparisons=weighed)


class Way(NamedTuple):
    """One way to learn a task: for each seed a curve by answers, and one by steps.

    Their returns have shape (point, task).
    """

    labels: list[Curve]
    steps: list[Curve]


def by_gradient_steps(family: str, plan: Plan, chosen: dict[str, Any]) -> Way:
    """From priors that gradient steps adapt."""
    config, made = config_of(family, chosen, plan), envs.make(family)
    tasks = held_out_tasks(made, plan.num_tasks)
    policy = config.policy

    def one(seed: int) -> Float[np.ndarray, "budget collection task"]:
        made_with = (seed, config, plan.num_tasks, LABELS, ASKING)
        path = path_of(
            "budgets", family, *made_with, made_by=[returns_by_budget, gradient_prior_of]
        )
        key = jax.random.fold_in(jax.random.key(seed), 0xADA)
        make = lambda: {
            "returns": returns_by_budget(key, made, tasks, gradient_prior_of(family, seed, config))
        }
        return kept(path, make)["returns"]

    of_a_step = policy.episodes * made.horizon
    steps = np.arange(policy.inner_steps + 1.0) * of_a_step
    found = Way([], [])
    for returns in map(one, plan.seeds):
        after = np.concatenate([returns[:1, 0], returns[:, -1]])
        labels = np.array([0.0, *LABELS])
        found.labels.append(Curve(labels, np.where(labels > 0, steps[-1], 0.0), after))
        found.steps.append(Curve(np.where(steps > 0, labels[-1], 0.0), steps, returns[-1]))
    return found


def by_posterior(family: str, plan: Plan) -> Way:
    """From the default's priors, without practice: no step is taken, but an episode is charged."""
    config = replace(plan.preset(family).ten, labels=max(LABELS), rounds=max(LABELS) // 2)
    curves, horizon = taught(family, plan, config), envs.make(family).horizon
    last = [Curve(c.labels[-1:], np.array([float(horizon)]), c.returns[-1:]) for c in curves]
    return Way(curves, last)


def reach(
    ways: Sequence[Sequence[Curve]], resource: str, scale: References, resamples: int = 1000
) -> tuple[float, bool, float, float]:
    """The least of `resource` for `SHARE` of the oracle by any of `ways`, each a curve by seed.

    Also whether it takes more, as none was there yet; and a 95 % interval by bootstrap over seeds
    and tasks.
    """
    normalised = [[curve.normalise(scale) for curve in way] for way in ways]

    def of(seeds: Sequence[np.ndarray], tasks: np.ndarray) -> tuple[float, bool]:
        means = []
        for way, drawn in zip(normalised, seeds, strict=True):
            returns = np.mean([way[seed].returns[:, tasks] for seed in drawn], axis=0)
            means.append(way[0]._replace(returns=returns))
        return needed(means, resource, SHARE)

    num_tasks = len(scale.oracle)
    value, never = of([np.arange(len(way)) for way in ways], np.arange(num_tasks))
    rng = np.random.default_rng(0)
    drawn = [
        of(
            [rng.integers(len(w), size=len(w)) for w in ways],
            rng.integers(num_tasks, size=num_tasks),
        )
        for _ in range(resamples)
    ]
    low, high = np.quantile([used for used, _ in drawn], [0.025, 0.975])
    return value, never, min(float(low), value), max(float(high), value)


def of_scratch(family: str, plan: Plan) -> list[list[Curve]]:
    """Both schedules of learning from scratch, as ways of a single seed."""
    return [[curve] for curve in from_scratch(family, plan)]
