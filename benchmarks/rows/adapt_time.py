"""Seconds that teaching one task with ten comparisons takes, compiled before."""

import time

import jax
import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, prior_of
from benchmarks.harness import Result
from metarlhf import envs
from metarlhf.meta.tasks import held_out_tasks

ROW = "adapt-time"


def measure(options):
    """One figure for each family: the median over tasks."""
    plan = Plan.of(options)
    for name in FAMILIES:
        preset, family = plan.preset(name), envs.make(name)
        prior = prior_of(name, 0, preset.joint)
        tasks = held_out_tasks(family, plan.num_tasks)
        times = []
        for i in range(min(plan.num_tasks, 20) + 1):
            task = jax.tree.map(lambda x: x[max(i - 1, 0)], tasks)
            begin = time.perf_counter()
            state = prior.run(jax.random.key(i), family, task, preset.ten)
            jax.block_until_ready((state.ppo.agent, state.answers))
            times.append(time.perf_counter() - begin)
        first, times = times[0], np.asarray(times[1:])
        yield Result(
            ROW,
            name,
            float(np.median(times)),
            unit="s",
            must=30,
            aim=5,
            better="lower",
            seeds=(0,),
            details={
                "first_with_compilation": first,
                "fastest": times.min(),
                "slowest": times.max(),
                "tasks": len(times),
            },
        )
