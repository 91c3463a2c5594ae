"""What a reward learned from ten comparisons pays for, beside what the true reward pays for.

Of each held-out task: how exactly integrated gradients add up (the worst step of the worst task),
and which share of the features that count most for the learned reward are those that count for the
true one: as many as make up 5 % of it or more. Where two features say the same (an arm's angles say
where its fingertip is), a learned reward may pay for either, and that counts against it here. The
one line, which has no more terms than are worth it, is judged in the same way.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, prior_of
from benchmarks.harness import Result
from metarlhf import envs
from metarlhf.explain import (
    BeliefReward,
    OfInputs,
    TaskReward,
    completeness_error,
    features_of,
    fit_additive,
    inputs_of,
    integrated_gradients,
)
from metarlhf.explain.attribution import by_feature, shares
from metarlhf.explain.distances import play
from metarlhf.meta.adapt import adapt
from metarlhf.meta.evaluate import held_out_tasks
from metarlhf.statistics import mean_interval

ROW = "attribution"
SEEDS, TASKS, STEPS, REFERENCES = 3, 20, 256, 8
# What the true reward pays for less than this is not looked for.
COUNTS = 0.05


def measure(options):
    """Three figures for each family."""
    plan = Plan.of(options)
    seeds = plan.seeds if options.seeds else plan.seeds[:SEEDS]
    count = min(TASKS, plan.num_tasks)
    for name in FAMILIES:
        family, config = envs.make(name), plan.preset(name).ten
        tasks = held_out_tasks(family, count)
        names, found = [feature.name for feature in features_of(family)], []
        for seed in seeds:
            prior = prior_of(name, seed, plan.preset(name).joint)
            teach = jax.jit(partial(adapt, family=family, prior=prior, config=config))
            for i in range(count):
                task = jax.tree.map(lambda x: x[i], tasks)
                state = teach(jax.random.fold_in(jax.random.key(seed), i), task=task)
                found.append(compare(family, task, state, prior.library.clips, seed))
        errors, agree, told, cosine, learned = (np.stack(x) for x in zip(*found, strict=True))
        by_task = lambda x: mean_interval(x.reshape(len(seeds), count), shared_tasks=True)
        yield Result(
            ROW,
            f"{name}, completeness error, worst step",
            100 * float(np.max(errors)),
            unit="%",
            must=1.0,
            better="lower",
            seeds=seeds,
            details={"held_out_tasks": count, "median_of_tasks": 100 * float(np.median(errors))},
        )
        interval = by_task(agree)
        yield Result(
            ROW,
            f"{name}, top features that the true reward has, too",
            interval.mean,
            low=interval.low,
            high=interval.high,
            must=0.9,
            seeds=seeds,
            details={
                "held_out_tasks": count,
                "cosine_of_shares": float(np.mean(cosine)),
                "mean_share_learned": dict(zip(names, learned.mean(0).tolist(), strict=True)),
            },
        )
        interval = by_task(told)
        yield Result(
            ROW,
            f"{name}, features of the one line that the true reward has, too",
            interval.mean,
            low=interval.low,
            high=interval.high,
            seeds=seeds,
            details={"held_out_tasks": count},
        )


def compare(family, task, state, clips, seed):
    """Worst error, shares of agreeing features by attribution and in the one line, cosine of the
    attributions, and those of the learned reward.
    """
    played = play(jax.random.key(seed), family, task, state.ppo.agent.actor, 4)
    flat = lambda x: np.asarray(x).reshape(-1, *x.shape[2:])
    obs, action = (np.concatenate([flat(a), flat(b)]) for a, b in (
        (clips.obs, played.obs), (clips.action, played.action)
    ))  # fmt: skip
    x = inputs_of(family, obs, action)
    spaced = lambda count: jnp.asarray(x[np.linspace(0, len(x) - 1, count).astype(int)])
    errors, share = [], []
    for reward in (BeliefReward(state.belief), TaskReward(task, family)):
        found = integrated_gradients(OfInputs(reward, family), spaced(STEPS), spaced(REFERENCES))
        errors.append(completeness_error(found))
        share.append(shares(by_feature(np.asarray(found.parts), features_of(family))))
    learned, true = share
    wanted = set(np.flatnonzero(true >= COUNTS))
    best = set(np.argsort(-learned)[: len(wanted)])
    cosine = learned @ true / np.linalg.norm(learned) / np.linalg.norm(true)
    pays = np.asarray(paid_of(OfInputs(BeliefReward(state.belief), family), jnp.asarray(x)))
    line = fit_additive(x, pays, features_of(family)).shapes
    weight = {f.name: 0.0 for f in features_of(family)}
    for shape in line:
        for feature in shape.features:
            weight[feature.name] += shape.weight
    used = set(np.argsort(-np.array(list(weight.values())), kind="stable")[: len(wanted)])
    return (
        max(errors[0]),
        len(best & wanted) / len(wanted),
        len(used & wanted) / len(wanted),
        float(cosine),
        learned,
    )


@eqx.filter_jit
def paid_of(reward, x):
    """The reward of each step, compiled."""
    return reward(x)
