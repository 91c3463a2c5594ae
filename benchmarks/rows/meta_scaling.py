"""Environment steps a second of one meta-iteration, by the number of tasks in it.

The meta-iteration of the row meta-iteration-vs-learn2learn: MAML with TRPO as the outer step, one
inner step, 20 trajectories of 100 steps before it and after it, on navigation, all compiled before.
Up to 10,000 tasks on a GPU, 40 million steps in one meta-iteration; a CPU, where steps a second
hardly change beyond twenty, stops at 200.
"""

import time
from dataclasses import replace

import jax
import numpy as np

from benchmarks.harness import Result
from benchmarks.rows.meta_iteration_vs_learn2learn import CONFIG
from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.sampling import CompiledTaskSampler

ROW = "meta-scaling"
TASKS = (20, 200, 2_000, 10_000)
RUNS, ON_CPU = 3, 200
# What is differentiated together has to fit: of 500 tasks, some 30 GB.
AT_ONCE = {"cpu": 4}, 500


def measure(options):
    """The median of several meta-iterations for each number of tasks."""
    device = jax.devices()[0].platform
    most = 40 if options.quick else ON_CPU if device == "cpu" else TASKS[-1]
    for tasks in TASKS:
        if tasks <= most:
            yield of_tasks(tasks, device, 1 if options.quick else RUNS)


def of_tasks(tasks, device, runs):
    """One figure."""
    of_device, otherwise = AT_ONCE
    at_once = min(tasks, of_device.get(device, otherwise))
    config = replace(CONFIG, meta_batch=tasks, tasks_at_once=at_once, curvature_tasks=tasks // 5)
    family = envs.make("navigation/finn2017")
    state = outer.init(jax.random.key(0), family, config)
    step = jax.jit(lambda state: outer.meta_iterate(state, CompiledTaskSampler(family), config)[0])
    begin = time.perf_counter()
    step = step.lower(state).compile()
    compiled = time.perf_counter() - begin
    seconds = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        state = jax.block_until_ready(step(state))
        seconds.append(time.perf_counter() - begin)
    steps = 2 * tasks * config.episodes * family.horizon
    rates = steps / np.array(seconds[1:])
    print(f"  {tasks} tasks: {seconds[1:]} s, compiled in {compiled:.0f} s", flush=True)
    return Result(
        ROW,
        f"{tasks:,} tasks",
        float(np.median(rates)),
        unit="steps/s",
        low=float(rates.min()),
        high=float(rates.max()),
        seeds=(0,),
        details={
            "seconds": seconds[1:],
            "steps_of_an_iteration": steps,
            "compile_seconds": compiled,
        },
    )
