"""Time of a meta-iteration of learn2learn 0.2.0's example `maml_trpo.py`, over that of ours.

MAML with TRPO as the outer step on 2D navigation: 20 tasks, 20 trajectories of at most 100 steps
before the one inner step and as many after it, two layers of 100, a KL of at most 0.01 nats after
adaptation. Theirs is the example as it comes, its simulators in two processes, PyTorch with the
number of threads that it chooses. Both make 10 steps of conjugate gradients and stop at the first
length of the line search that does; ours finds the curvature by two of the 20 tasks, a tenth of the
data as in TRPO's own experiments, and holds the bound on all, where theirs takes all for both. (In
20 meta-iterations of one seed returns were then -14.5 after adaptation, with all of them -12.6, in
three times the time.) Both collect, adapt, and make one meta-update; what is compiled has been
before. Ratio of medians; the interval is that of the fastest of ours beside the slowest of theirs,
and the other way round.
"""

import statistics
import time
from dataclasses import replace

import jax

from benchmarks.harness import Result
from benchmarks.meta import learn2learn
from metarlhf import envs
from metarlhf.devices import one_for_each_core
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.sampling import CompiledTaskSampler

ROW = "meta-iteration-vs-learn2learn"
CONFIG = MetaRLConfig(
    method="maml", outer_step="trpo", learn_inner_lr="none", inner_lr=0.1, inner_steps=1,
    meta_batch=20, episodes=20, hidden=(100, 100), gamma=0.99, gae_lambda=1.0, kl_bound=0.01,
    curvature_tasks=2,
)  # fmt: skip
OURS, THEIRS = 9, 3


def measure(options):
    """Ours, theirs, ours again: a slow minute is seen."""
    one_for_each_core()
    config, count = CONFIG, options.seeds or THEIRS
    if options.quick:
        config, count = replace(CONFIG, meta_batch=2, episodes=2), 1
    iterate = _compiled(config)
    ours = _seconds(iterate)
    theirs = learn2learn.iterations(count, config.meta_batch, config.episodes)
    ours += _seconds(iterate)
    seconds = theirs["seconds"]
    return Result(
        ROW,
        "navigation",
        statistics.median(seconds) / statistics.median(ours),
        low=min(seconds) / max(ours),
        high=max(seconds) / min(ours),
        must=50,
        aim=150,
        seeds=(0,),
        details={
            "our_seconds": ours,
            "their_seconds": seconds,
            "their_transitions": theirs["transitions"],
            "our_transitions_at_most": 2
            * config.meta_batch
            * config.episodes
            * envs.make("navigation").horizon,
        },
    )


def _compiled(config):
    family = envs.make("navigation/finn2017")
    state = outer.init(jax.random.key(0), family, config)
    step = lambda state: outer.iterate(state, CompiledTaskSampler(family), config)[0]
    jax.block_until_ready(step(state))
    return lambda: jax.block_until_ready(step(state))


def _seconds(iterate):
    found = []
    for _ in range(OURS):
        begin = time.perf_counter()
        iterate()
        found.append(time.perf_counter() - begin)
    return found
