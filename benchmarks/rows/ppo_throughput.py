"""Environment steps a second of PPO on CartPole: playing and learning, compiled before.

64 environments of 128 steps, 4 passes in 4 minibatches, two tanh layers of 64 for policy and value
function each. Nearly all of the time is the matrix products of those networks: about 53,000
floating-point operations for each step in each pass, and a third of that to judge it before.
"""

import time

import jax
import numpy as np

from benchmarks.harness import Result
from metarlhf import envs, ppo
from metarlhf.ppo.update import make_batch
from metarlhf.sampling import CompiledSampler

ROW = "ppo-throughput"
CONFIG = ppo.PPOConfig(
    total_steps=500_000, num_envs=64, num_steps=128, lr=2.5e-3, entropy_coefficient=0.01
)
RUNS, UPDATES = 9, 30


def measure(options):
    """The median of several runs from the same start."""
    runs, updates = (3, 2) if options.quick else (RUNS, UPDATES)
    family = envs.make("cartpole")
    task = family.sample(jax.random.key(0))
    start = ppo.init(jax.random.key(0), CompiledSampler(family, task, CONFIG.num_envs), CONFIG)
    stages = time_stages(start, family, task)
    rates, metrics = [], {}
    for run in range(runs + 1):
        begin = time.perf_counter()
        state, metrics = jax.block_until_ready(
            ppo.iterate_many(start, CompiledSampler(family, task, CONFIG.num_envs), CONFIG, updates)
        )
        if run:  # the first one compiles
            rates.append(updates * CONFIG.batch_size / (time.perf_counter() - begin))
    assert int(state.updates) == updates
    return Result(
        ROW,
        "cartpole",
        float(np.median(rates)),
        unit="steps/s",
        must=130_000,
        aim=250_000,
        seeds=(0,),
        details={
            "runs": rates,
            "updates_of_a_run": updates,
            "milliseconds_of_an_update": stages,
            "kl": float(metrics["kl"].mean()),
        },
    )


def time_stages(state, family, task):
    """Where the time of an update goes: medians, each stage compiled and timed by itself."""
    play = jax.jit(
        lambda state: ppo.play(state, CompiledSampler(family, task, CONFIG.num_envs), CONFIG)
    )
    learn = jax.jit(lambda state, trajectory: ppo.learn(state, trajectory, CONFIG))
    judge = jax.jit(lambda state, trajectory: make_batch(state.agent, trajectory, CONFIG))
    state, trajectory = play(state)
    return {
        "play": milliseconds(play, state),
        "advantages": milliseconds(judge, state, trajectory),
        "advantages_and_update": milliseconds(learn, state, trajectory),
    }


def milliseconds(function, *arguments, repeats=9):
    """Median time of a call, the first one not counted."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times[1:]))
