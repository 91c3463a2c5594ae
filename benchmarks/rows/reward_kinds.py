"""Held-out pairs of clips that a meta-learned reward orders rightly after ten comparisons.

Two kinds, and the one after the other: gradient steps from a meta-learned initialisation; a
posterior over task variables; the posterior, then gradient steps. Each chooses its own questions,
and the posterior is also asked about random pairs, to tell what choosing is worth. All ask about
the prior's own clips, and are judged by another seed's, which none of them has seen.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, prior_of
from benchmarks.harness import Result, Stopwatch
from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.meta import reward_gradient
from metarlhf.meta.config import GradientRewardConfig
from metarlhf.meta.tasks import count_of, held_out_tasks
from metarlhf.reward.latent import RefinedPosterior
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import ask_about
from metarlhf.statistics import mean_interval

ROW = "reward-kinds"
# From 600 to 1200 steps the share rises by no more than a hundredth.
STEPS, CLIPS = 1200, 128
TRAIN_TASKS = 2048
CONFIG = RLHFConfig(labels=10, rounds=5)


def measure(options):
    """For each family the share of pairs, by kind."""
    plan = Plan.of(options)
    for name in FAMILIES:
        family = envs.make(name).without_termination()
        tasks = held_out_tasks(family, plan.num_tasks)
        found, seconds = {}, 0.0
        for seed in plan.seeds:
            prior = prior_of(name, seed, plan.preset(name).joint)
            known = prior.library
            other = seed + 1 if seed + 1 in plan.seeds or len(plan.seeds) == 1 else plan.seeds[0]
            unseen = prior_of(name, other, plan.preset(name).joint).library
            watch = Stopwatch()
            steps = 20 if options.quick else STEPS
            gradient = jax.block_until_ready(learn_gradient(seed, family, known, steps))
            seconds = watch.seconds
            print(f"  {name}, seed {seed}: gradient reward in {seconds:.0f} s", flush=True)
            for kind, belief, strategy in (
                ("gradient steps", gradient, "information-gain"),
                ("posterior", prior.belief, "information-gain"),
                (
                    "posterior, then gradient steps",
                    RefinedPosterior.of(prior.belief),
                    "information-gain",
                ),
                ("posterior, random questions", prior.belief, "uniform"),
            ):
                shares = right(jax.random.key(seed), family, tasks, belief, known, unseen, strategy)
                found.setdefault(kind, []).append(np.asarray(shares))
        for kind, shares in found.items():
            interval = mean_interval(np.stack(shares), shared_tasks=True)
            yield Result.of(
                ROW,
                f"{name}, {kind}",
                interval,
                seeds=plan.seeds,
                details={"held_out_tasks": plan.num_tasks, "meta_training_seconds": seconds},
            )


def learn_gradient(seed, family, library, steps):
    """A gradient-adapted reward, meta-trained on the prior's own clips."""
    config = GradientRewardConfig(batch_tasks=8)
    key = jax.random.key(seed)
    tasks = jax.vmap(family.sample)(jax.random.split(jax.random.fold_in(key, 0x7A5), TRAIN_TASKS))

    @jax.jit
    def train(key):
        state = reward_gradient.init(key, family, config, steps)

        def step(state, key):
            clips = jax.random.choice(key, len(library), (CLIPS,), replace=False)
            return reward_gradient.train_step(
                state, key, family, tasks, library[clips], Teacher(), config, steps
            )

        return jax.lax.scan(step, state, jax.random.split(key, steps))[0]

    return train(key).reward


@partial(jax.jit, static_argnames=("family", "strategy"))
def right(key, family, tasks, belief, known, unseen, strategy):
    """Share of the pairs of `unseen` clips that are ordered as the task does, task by task."""
    config = RLHFConfig(labels=CONFIG.labels, rounds=CONFIG.rounds, strategy=strategy)

    def one(key, task):
        learned, _ = ask_about(key, belief, known, family, task, config)
        true = unseen.seen_under(family, task)
        sums = true.task_reward.sum(-1)
        predicted = learned(true.obs, true.action).sum(-1)
        differ = sums[:, None] != sums
        agree = (sums[:, None] > sums) == (predicted[:, None] > predicted)
        return jnp.sum(agree & differ) / jnp.sum(differ)

    return jax.vmap(one)(jax.random.split(key, count_of(tasks)), tasks)
