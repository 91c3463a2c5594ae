"""Time of 16 seeds of PPO in one compiled program over the time of one, on CartPole.

From a key to a trained agent, `ppo.init` and `ppo.iterate_many`: under `jax.vmap` over 16 keys, and
for one key without it. The same updates of 64 environments of 128 steps, compiled before, by turns.
The figure is the ratio of medians, the interval the least and the greatest ratio of two runs in
turn. 16 would be no gain.

A gain needs something left to gain: where one seed alone keeps the machine multiplying for a share
s of its time (the row `ppo-roofline`), sixteen take at least 16 s times as long, however good the
program. So there is a second figure, for 4 environments a seed, where s is smaller.
"""

import statistics

import jax

from benchmarks.harness import Result
from benchmarks.ppo.drivers.ours import setting_out
from benchmarks.ppo.flops import seconds
from benchmarks.ppo.peers import ratio
from benchmarks.ppo.protocol import Settings
from metarlhf import ppo
from metarlhf.sampling import CompiledSampler

ROW = "ppo-seeds"
SEEDS, REPEATS = 16, 9
# Environments of a seed, updates of a run of about two seconds.
TARGETS = {"must": 8, "aim": 4}
SIZES = ((64, 20), (4, 100))


def measure(options):
    """A figure for each size; the first alone where it has to be quick."""
    seeds = options.seeds or SEEDS
    if options.quick:
        return gain(seeds, 64, updates=2, repeats=2, targets=TARGETS)
    return [gain(seeds, envs, updates, REPEATS, TARGETS) for envs, updates in SIZES]


def gain(seeds, num_envs, updates, repeats, targets):
    """One seed and all, by turns."""
    settings = Settings(num_envs=num_envs, updates=updates)
    family, task, config = setting_out(settings)
    keys = jax.random.split(jax.random.key(0), seeds)

    def train(key):
        start = ppo.init(key, CompiledSampler(family, task, config.num_envs), config)
        return ppo.iterate_many(
            start, CompiledSampler(family, task, config.num_envs), config, updates
        )[0]

    programs = [(jax.jit(train), keys[0]), (jax.jit(jax.vmap(train)), keys)]
    times = [[seconds(*program) for program in programs] for _ in range(repeats + 1)]
    one, many = zip(*times[1:], strict=True)  # the first of each compiles
    value, low, high = ratio(many, one)
    return Result(
        ROW,
        f"cartpole, {seeds} seeds of {num_envs} environments",
        value,
        low=low,
        high=high,
        better="lower",
        seeds=tuple(range(seeds)),
        details={
            "seconds_of_one": one,
            "seconds_of_all": many,
            "updates_of_a_run": updates,
            "steps_per_second_of_all": seeds * settings.steps / statistics.median(many),
        },
        **targets,
    )
