"""`metarlhf evaluate` of a family with a protocol of its own, Meta-World's: by success."""

from contextlib import closing
from typing import Any

import jax
import numpy as np

from metarlhf.cli.more_priors import interval
from metarlhf.cli.runs import say
from metarlhf.envs import TestedFamily
from metarlhf.experiments.evaluation import successes_after
from metarlhf.meta.prior import GradientPrior
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.runs import RunDirectory
from metarlhf.statistics import mean_interval

# Tasks that are tested at a time.
BATCH = 20


def measured_by_protocol(
    run: RunDirectory, family: TestedFamily, prior: GradientPrior, most: int, seed: int
) -> dict[str, Any]:
    """By success, on the tasks that the family is tested on (see `evaluation.successes_after`)."""
    every = held_out_tasks(family, most)
    count = jax.tree.leaves(every)[0].shape[0]
    say(f"{family.name}: one adaptation to each of {count} test tasks")

    def measure() -> dict[str, np.ndarray]:
        parts = []
        # As many at a time as divide them.
        size = max(n for n in range(1, BATCH + 1) if count % n == 0)
        with closing(family.connect(size)) as env:
            for begin in range(0, count, size):
                some = jax.tree.map(lambda x: x[begin : begin + size], every)
                key = jax.random.fold_in(jax.random.key(seed), begin)
                parts.append(successes_after(key, env, family, some, prior))
        return {"successes": np.concatenate(parts, axis=1)}

    before, after = run.keep("tested", measure)["successes"]
    return run.finish(
        {
            "command": "evaluate",
            "family": family.name,
            "varies": family.varies,
            "num_tasks": count,
            "success_before": interval(mean_interval(before[:, None])),
            "success": interval(mean_interval(after[:, None])),
        }
    )


def protocol_words(result: dict[str, Any]) -> str:
    """What came of it, for a person."""
    share = lambda one: f"{one['mean']:.1%} ({one['low']:.1%} to {one['high']:.1%})"
    return (
        f"{result['family']}, {result['varies']}: success on {result['num_tasks']} test tasks "
        f"{share(result['success'])}, before adapting {share(result['success_before'])}"
    )
