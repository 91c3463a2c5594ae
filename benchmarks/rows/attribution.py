"""What a reward learned from ten comparisons pays for, beside what the true reward pays for.

Of each held-out task: how exactly integrated gradients add up (the worst step of the worst task),
and which share of the features that count most for the learned reward are those that count for the
true one: as many as make up 5 % of it or more. Features that follow from others (the cosine of an
elbow from where the fingertip is) are put in terms of those, as `metarlhf explain` does; beside it
the share without that, where a learned reward that looks at the one for the other has it count
against it. The one line, which has no more terms than are worth it, is judged in the same way.
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
    RewardOfInputs,
    SubstitutedReward,
    TaskReward,
    collect_transitions,
    completeness_error,
    features_of,
    fidelity,
    fit_additive,
    inputs_of,
    integrated_gradients,
    relative_importance,
    subsample,
    substitute_dependent,
    sum_by_feature,
)
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.statistics import mean_interval

ROW = "attribution"
MUST = 0.9
SEEDS, TASKS, STEPS, REFERENCES = 3, 20, 256, 8
# What the true reward pays for less than this is not looked for.
COUNTS = 0.05


def measure(options):
    """Four figures for each family."""
    plan = Plan.of(options)
    seeds = plan.seeds if options.seeds else plan.seeds[:SEEDS]
    count = min(TASKS, plan.num_tasks)
    for name in FAMILIES:
        family, config = envs.make(name), plan.preset(name).ten
        tasks = held_out_tasks(family, count)
        names, found = [feature.name for feature in features_of(family)], []
        for seed in seeds:
            prior = prior_of(name, seed, plan.preset(name).joint)
            teach = jax.jit(partial(prior.run, family=family, config=config))
            for i in range(count):
                task = jax.tree.map(lambda x: x[i], tasks)
                state = teach(jax.random.fold_in(jax.random.key(seed), i), task=task)
                found.append(compare(family, task, state, prior.library.clips, seed))
        errors, agree, looked, told, cosine, tells, learned = (
            np.stack(x) for x in zip(*found, strict=True)
        )
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
        details = {
            "cosine_of_shares": float(np.mean(cosine)),
            "told_in_terms_of_the_rest_r2_lowest": float(np.min(tells)),
            "mean_share_learned": dict(zip(names, learned.mean(0).tolist(), strict=True)),
        }
        for what, share, must, more in (
            ("top features that the true reward has, too", agree, MUST, details),
            ("top features where none follows from others", looked, MUST, {}),
            ("features of the one line that the true reward has, too", told, None, {}),
        ):
            interval = by_task(share)
            yield Result.of(
                ROW,
                f"{name}, {what}",
                interval,
                must=must,
                seeds=seeds,
                details={"held_out_tasks": count, **more},
            )


def compare(family, task, state, clips, seed):
    """Worst error; shares of agreeing features by attribution, in terms of what varies by itself
    and as they are looked at, and in the one line; cosine of the attributions; how much of the
    learned reward is told in those terms; and its attribution.
    """
    played = collect_transitions(jax.random.key(seed), family, task, state.ppo.agent.actor, 4)
    flat = lambda x: np.asarray(x).reshape(-1, *x.shape[2:])
    obs, action = (np.concatenate([flat(a), flat(b)]) for a, b in (
        (clips.obs, played.obs), (clips.action, played.action)
    ))  # fmt: skip
    x = inputs_of(family, obs, action)
    features = features_of(family)

    def attributed(reward):
        found = integrated_gradients(reward, subsample(x, STEPS), subsample(x, REFERENCES))
        return completeness_error(found), relative_importance(
            sum_by_feature(np.asarray(found.parts), features)
        )

    pays = RewardOfInputs(BeliefReward(state.belief), family)
    _, looked_at = attributed(pays)
    _, terms = substitute_dependent(pays, x, features, looked_at)
    error, learned = attributed(SubstitutedReward(pays, terms))
    of_task = RewardOfInputs(TaskReward(task, family), family)
    _, true = attributed(SubstitutedReward(of_task, terms))
    _, true_looks_at = attributed(of_task)

    def agree(weight, true):
        wanted = set(np.flatnonzero(true >= COUNTS))
        return len(set(np.argsort(-weight, kind="stable")[: len(wanted)]) & wanted) / len(wanted)

    cosine = learned @ true / np.linalg.norm(learned) / np.linalg.norm(true)
    paid = np.asarray(paid_of(pays, jnp.asarray(x)))
    weight = {feature.name: 0.0 for feature in features}
    for shape in fit_additive(x, paid, features).shapes:
        for feature in shape.features:
            weight[feature.name] += shape.weight
    return (
        max(error),
        agree(learned, true),
        agree(looked_at, true_looks_at),
        agree(np.array(list(weight.values())), true_looks_at),
        float(cosine),
        fidelity(pays, terms, x),
        learned,
    )


@eqx.filter_jit
def paid_of(reward, x):
    """The reward of each step, compiled."""
    return reward(x)
