"""Seconds until the compiled trainer has made its first update, in a fresh process.

The first call of `ppo.iterate_many` on CartPole, for one update: tracing, compiling and running it,
which itself is a few hundredths of a second. Nothing is taken from a compilation cache. Not counted
are Python's start, imports and `ppo.init`. The median of five processes, and the least and most.
"""

import statistics

from benchmarks.harness import Result
from benchmarks.ppo.peers import OURS, run
from benchmarks.ppo.protocol import Settings

ROW = "ppo-compile"
REPEATS = 5


def measure(options):
    """The first call, whole."""
    repeats = options.seeds or (1 if options.quick else REPEATS)
    runs = [run(OURS, Settings(updates=1, seed=seed)) for seed in range(repeats)]
    first = [one.compile_seconds + one.seconds for one in runs]
    return Result(
        ROW,
        "cartpole",
        statistics.median(first),
        unit="s",
        low=min(first),
        high=max(first),
        must=8,
        aim=4,
        better="lower",
        seeds=tuple(range(repeats)),
        details={"runs": first, "seconds_of_a_later_call": [one.seconds for one in runs]},
    )
