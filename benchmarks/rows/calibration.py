"""Whether a reward is as sure of its predictions as it is right, after ten answers.

The expected calibration error of predicted preferences, ten bins, over pairs of clips that it has
not seen (another seed's): with meta-learning, a prior's posterior; without, an ensemble that began
with nothing, fitted to the prior's own questions and answers. Held-out tasks, an errorless teacher.
"""

from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.few_shot import FAMILIES, Plan, prior_of
from benchmarks.harness import Result
from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.feedback.teachers import Scale
from metarlhf.meta.tasks import count_of, held_out_tasks
from metarlhf.reward import ROBUST, Ensemble
from metarlhf.reward.calibration import predicted_preferences, reliability
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import ask_about
from metarlhf.statistics import mean_interval
from metarlhf.types import Comparison

ROW = "calibration"
MUST = 0.1
CONFIG = RLHFConfig(labels=10, rounds=5)
PAIRS = 256


def measure(options):
    """Two figures for each family, and the reliability diagrams in their details."""
    plan = Plan.of(options)
    for name in FAMILIES:
        family = envs.make(name).without_termination()
        tasks = held_out_tasks(family, plan.num_tasks)
        found = [of_seed(name, family, tasks, seed, plan) for seed in plan.seeds]
        for kind, must in (("with a prior", MUST), ("from scratch", None)):
            errors = jnp.stack([seed[kind].expected_error for seed in found])
            interval = mean_interval(errors, shared_tasks=True)
            # A task's 256 pairs are few for ten bins, which adds to each error: the diagram of all
            # tasks together, too.
            whole = jax.tree.map(lambda *x: jnp.concatenate(x), *[seed[kind] for seed in found])
            yield Result.of(
                ROW,
                f"{name}, {kind}",
                interval,
                must=must,
                better="lower",
                seeds=plan.seeds,
                details={"held_out_tasks": plan.num_tasks, "pairs": PAIRS} | diagram(whole),
            )


def of_seed(name, family, tasks, seed, plan):
    """Both kinds' reliability, task by task."""
    meta = plan.preset(name).joint
    other = seed + 1 if seed + 1 in plan.seeds or len(plan.seeds) == 1 else plan.seeds[0]
    known, unseen = prior_of(name, seed, meta), prior_of(name, other, meta).library
    return judged(jax.random.key(seed), family, tasks, known.belief, known.library, unseen)


@partial(jax.jit, static_argnames=("family",))
def judged(key, family, tasks, prior, known, unseen):
    """Reliability of the posterior, and of an ensemble told the same."""

    def one(key, task):
        ask_key, pair_key, begin_key, fit_key = jax.random.split(key, 4)
        posterior, answers = ask_about(ask_key, prior, known, family, task, CONFIG)
        fresh = pairs(pair_key, unseen.seen_under(family, task))
        ensemble = Ensemble.create(begin_key, family, ROBUST)
        ensemble = ensemble.adapt(fit_key, answers.feedback)
        of = lambda belief: reliability(
            predicted_preferences(belief, fresh), fresh.preference, fresh.weight
        )
        return {"with a prior": of(posterior), "from scratch": of(ensemble)}

    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks)


def pairs(key, clips):
    """Random pairs of clips, answered by who never errs."""
    left, right = jax.random.choice(key, clips.obs.shape[0], (2, PAIRS), replace=False)
    left, right = clips[left], clips[right]
    preference, weight = Teacher().compare(
        key, left.task_reward, right.task_reward, Scale.of(clips.task_reward)
    )
    return Comparison(left, right, preference, weight)


def diagram(found):
    """All tasks and seeds together."""
    weight = found.weight.sum(0)
    mean = lambda x: (x * found.weight).sum(0) / jnp.maximum(weight, 1.0)
    confidence, right = mean(found.confidence), mean(found.right)
    error = jnp.sum(weight * jnp.abs(confidence - right)) / weight.sum()
    return {
        "confidence": confidence.round(4),
        "right": right.round(4),
        "weight": weight,
        "error_of_all_together": float(error),
    }
