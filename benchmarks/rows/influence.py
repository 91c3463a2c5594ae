"""Whether wrong answers are found: two of twenty, turned round, among the four that look worst.

Every answer is left out in turn and judged by the reward fitted to the others
(`metarlhf.reward.calibration`); the four that those give the lowest probability are the suspects. A
run counts where both wrong ones are among them. Questions are random pairs of the prior's clips,
answered by an errorless teacher, after which two random answers are turned round; with a prior, and
by an ensemble that began with nothing. Held-out tasks.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.few_shot import FAMILIES, Plan, prior_of
from benchmarks.harness import Result
from metarlhf import envs
from metarlhf.meta.tasks import count_of, held_out_tasks
from metarlhf.reward import ROBUST, Ensemble
from metarlhf.reward.calibration import influence
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import ask_about
from metarlhf.statistics import mean_interval

ROW = "influence"
MUST = 0.9
WRONG, SUSPECTS = 2, 4
CONFIG = RLHFConfig(labels=20, rounds=1, strategy="uniform")


def measure(options):
    """Two figures for each family."""
    plan = Plan.of(options)
    for name in FAMILIES:
        family = envs.make(name).without_termination()
        tasks = held_out_tasks(family, plan.num_tasks)
        found = []
        for seed in plan.seeds:
            prior = prior_of(name, seed, plan.preset(name).joint)
            found.append(runs(jax.random.key(seed), family, tasks, prior.belief, prior.library))
        for kind in ("with a prior", "from scratch"):
            both, each = (jnp.stack([seed[kind][i] for seed in found]) for i in (0, 1))
            interval = mean_interval(both, shared_tasks=True)
            yield Result.of(
                ROW,
                f"{name}, {kind}",
                interval,
                must=MUST,
                seeds=plan.seeds,
                details={
                    "held_out_tasks": plan.num_tasks,
                    "share_of_wrong_answers_found": float(each.mean()),
                    "answers": CONFIG.labels,
                    "wrong": WRONG,
                    "suspects": SUSPECTS,
                },
            )


@partial(jax.jit, static_argnames=("family",))
def runs(key, family, tasks, prior, library):
    """For each task whether both were found, and which share of them."""

    def one(inputs):
        key, task = inputs
        ask_key, wrong_key, begin_key, fit_key = jax.random.split(key, 4)
        _, answers = ask_about(ask_key, prior, library, family, task, CONFIG)
        said = answers.feedback
        wrong = jax.random.choice(wrong_key, CONFIG.labels, (WRONG,), replace=False)
        turned = said.comparisons.preference.at[wrong].set(1 - said.comparisons.preference[wrong])
        said = eqx.tree_at(lambda f: f.comparisons.preference, said, turned)
        ensemble = Ensemble.create(begin_key, family, ROBUST)

        def found(belief):
            suspects = influence(fit_key, belief, said, library.clips).suspects(SUSPECTS)
            caught = jnp.isin(wrong, suspects)
            return caught.all().astype(float), caught.mean()

        return {"with a prior": found(prior), "from scratch": found(ensemble)}

    keys = jax.random.split(key, count_of(tasks))
    # One task at a time: twenty refits of each are side by side already.
    return jax.lax.map(one, (keys, tasks))
