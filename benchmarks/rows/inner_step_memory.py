"""Memory of a meta-iteration with ten inner steps, over that of one with one.

What the compiler sets aside for intermediate values (`memory_analysis`) of one whole
meta-iteration: 20 tasks of navigation, 20 episodes of 100 steps before each inner step and after
the last, two layers of 64. Every inner step is recomputed when the meta-gradient goes back through
it, so that what a step needs inside itself is set aside once, however many there are; what grows is
the episodes themselves, and a policy for each step.
"""

from dataclasses import replace

import jax

from benchmarks.harness import Result
from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.sampling import CompiledTaskSampler

ROW = "inner-step-memory"
CONFIG = MetaRLConfig(meta_batch=20, episodes=20)
MANY = 10
OUTER_STEPS = {
    "Adam": {},
    "Adam, DiCE": {"estimator": "dice"},
    "TRPO": {"outer_step": "trpo"},
}


def measure(options):
    """A figure for each outer step; nothing is run, so nothing differs between two measurements."""
    config = replace(CONFIG, meta_batch=2) if options.quick else CONFIG
    for name, chosen in OUTER_STEPS.items():
        one, many = (
            temporary_bytes(replace(config, inner_steps=steps, **chosen)) for steps in (1, MANY)
        )
        yield Result(
            ROW,
            name,
            many / one,
            must=3.0,
            better="lower",
            details={"bytes_of_one_inner_step": one, f"bytes_of_{MANY}": many},
        )


def temporary_bytes(config):
    """What a compiled meta-iteration sets aside."""
    family = envs.make("navigation/finn2017")
    state = jax.eval_shape(lambda: outer.init(jax.random.key(0), family, config))
    iterate = jax.jit(lambda state: outer.meta_iterate(state, CompiledTaskSampler(family), config))
    return iterate.lower(state).compile().memory_analysis().temp_size_in_bytes
