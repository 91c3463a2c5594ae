"""Environment steps a second of meta-training on compiled families, compiled before.

Meta-RL on the task's own reward as its preset says (`by_gradient`: three inner steps, 20 tasks, 20
episodes before each step and after the last, 5 steps of Adam through all inner steps): playing,
adapting and the meta-update, everything that a meta-iteration does.
"""

import time
from functools import partial

import jax
import numpy as np

from benchmarks.harness import Result
from metarlhf import envs
from metarlhf.devices import one_for_each_core
from metarlhf.meta import outer
from metarlhf.meta.presets import FAMILIES, by_gradient
from metarlhf.sampling import CompiledTaskSampler

ROW = "meta-throughput"
RUNS, ITERATIONS = 5, 4


def measure(options):
    """The median of several runs from the same start, for each family."""
    one_for_each_core()
    runs, iterations = (1, 1) if options.quick else (RUNS, ITERATIONS)
    for name in FAMILIES:
        family, config = envs.make(name), by_gradient(name, reward="task").policy
        start = outer.init(jax.random.key(0), family, config)
        run = partial(
            outer.iterate, sampler=CompiledTaskSampler(family), config=config, iterations=iterations
        )
        collections = config.inner_steps + 1
        steps = config.meta_batch * collections * config.episodes * family.horizon
        rates, metrics = [], {}
        for number in range(runs + 1):
            begin = time.perf_counter()
            state, metrics = jax.block_until_ready(run(start))
            if number:  # the first one compiles
                rates.append(iterations * steps / (time.perf_counter() - begin))
            assert int(state.iteration) == iterations
        yield Result(
            ROW,
            name,
            float(np.median(rates)),
            unit="steps/s",
            low=min(rates),
            high=max(rates),
            must=300_000,
            aim=600_000,
            seeds=(0,),
            details={
                "runs": rates,
                "iterations_of_a_run": iterations,
                "steps_of_an_iteration": steps,
                "return_after_adaptation": float(metrics["return"][-1]),
            },
        )
