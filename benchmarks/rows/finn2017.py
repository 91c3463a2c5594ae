"""Mean return on held-out goals of `navigation/finn2017`, before and after one to three steps.

Policies act by sampling, as in Finn et al. 2017; each step learns from 20 episodes of the task, and
what comes after it is measured on 20 more, which the next step learns from.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np

from benchmarks.harness import Result, Stopwatch
from metarlhf import envs
from metarlhf.meta import inner, outer
from metarlhf.meta.presets import FINN2017
from metarlhf.meta.tasks import count_of, held_out_tasks
from metarlhf.sampling import CompiledTaskSampler
from metarlhf.statistics import mean_interval

ROW = "finn2017"
STEPS = 3
# After one and after three steps; MAML's own were -11.7 and -3.2.
TARGETS = {0: (None, None), 1: (-11.7, -7.0), 2: (None, None), 3: (-3.3, -2.6)}


def measure(options):
    """A figure for each number of steps."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    family = envs.make("navigation/finn2017")
    tasks = held_out_tasks(family, options.tasks or (4 if options.quick else 100))
    config = replace(FINN2017, iterations=2) if options.quick else FINN2017
    returns, seconds = [], []
    for seed in seeds:
        watch = Stopwatch()
        *_, (state, _) = outer.meta_train(
            outer.init(jax.random.key(seed), family, config), CompiledTaskSampler(family), config
        )
        seconds.append(watch.seconds)
        key = jax.random.fold_in(jax.random.key(seed), 0xADA)
        returns.append(after_steps(key, family, tasks, state, config))
        print(f"  seed {seed}: {seconds[-1]:.0f} s, {returns[-1].mean(-1).round(2)}", flush=True)
    for steps, (must, aim) in TARGETS.items():
        each = np.stack([found[steps] for found in returns])
        interval = mean_interval(each, shared_tasks=True)
        yield Result.of(
            ROW,
            f"return after {steps} {'step' if steps == 1 else 'steps'}",
            interval,
            must=must,
            aim=aim,
            seeds=seeds,
            details={
                "by_seed": each.mean(1).round(3),
                "median_task": float(np.median(each)),
                "held_out_tasks": each.shape[1],
                "episodes_of_a_step": config.episodes,
                "meta_training_episodes": config.iterations
                * config.meta_batch
                * config.episodes
                * (config.inner_steps + 1),
                "meta_training_seconds": seconds,
            },
        )


def after_steps(key, family, tasks, state, config):
    """Mean return of each task's episodes, shape (steps + 1, tasks)."""
    count = count_of(tasks)
    adapt = partial(
        inner.adapt, agent=state.agent, learned_rule=state.rule, config=config, steps=STEPS
    )
    one = lambda key, task: adapt(key, CompiledTaskSampler(family), task)[1]
    found = jax.vmap(one)(jax.random.split(key, count), tasks)
    return np.asarray(found.mean(-1)).T
