"""What the optimiser that comes with the library gains over Adam, also on a family it never saw.

It was meta-trained on navigation and pendulum as `metarlhf search optimiser` does (its description
says how, `contrib/pretrained/optimiser`), and never on reacher. PPO from scratch with 96,000 steps
and 480 gradient steps, on held-out tasks, each seed and task with the same first weights for both.
Adam's step size is the best of five on eight validation tasks of the family that it is measured on,
annealed to nothing; the optimiser has none to tune. The figure is the difference in return.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np

from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from metarlhf import envs
from metarlhf.contrib.learned import learned_folder, load_learned
from metarlhf.contrib.search import Trial, return_in
from metarlhf.files import digest
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.ppo.presets import SEARCHED
from metarlhf.statistics import mean_interval

ROW = "optimiser-transfer"
SHIPPED = "shipped:optimiser"
SEEDS, TASKS, VALIDATION = 3, 16, 8
STEP_SIZES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
# What meta-training saw is no transfer.
FAMILIES = {"reacher": "never seen", "pendulum": "new tasks", "navigation": "new tasks"}


def measure(options):
    """A figure for each family."""
    seeds = tuple(range(options.seeds or (1 if options.quick else SEEDS)))
    count = options.tasks or (2 if options.quick else TASKS)
    base = replace(SEARCHED, evaluation_episodes=16)
    if options.quick:
        base = replace(base, total_steps=6_400)
    for family, known in FAMILIES.items():
        tuned = {
            lr: float(
                returns(family, None, replace(base, lr=lr), (99,), count, "validation").mean()
            )
            for lr in (STEP_SIZES[:2] if options.quick else STEP_SIZES)
        }
        best = max(tuned, key=lambda lr: tuned[lr])
        adam = returns(family, None, replace(base, lr=best), seeds, count)
        learned = returns(family, SHIPPED, base, seeds, count)
        gain = mean_interval(learned - adam, shared_tasks=True)
        yield Result.of(
            ROW,
            f"{family} ({known})",
            gain,
            unit="return",
            must=0.0 if family == "reacher" else None,
            seeds=seeds,
            details={
                "learned": float(learned.mean()),
                "adam": float(adam.mean()),
                "adam_step_size": best,
                "adam_on_validation_tasks": tuned,
                "better_in": float((learned > adam).mean()),
                "held_out_tasks": count,
                "steps": base.total_steps,
            },
        )


def returns(family, learned, config, seeds, count, split="test"):
    """Of each seed and task, at the end of training."""
    made = envs.make(family)
    count = min(count, VALIDATION) if split == "validation" else count
    tasks = held_out_tasks(made, count, split)
    trial = Trial(made, config)
    network = load_learned(learned) if learned else None

    @partial(jax.jit, static_argnames=("trial",))
    def all_of(keys, tasks, trial):
        one = lambda data: return_in(network, data[0], trial, data[1])
        return jax.lax.map(one, (keys, tasks), batch_size=4)

    def of_seed(seed):
        keys = jax.random.split(jax.random.key(seed), count)
        found = np.asarray(all_of(keys, tasks, trial))
        print(f"  {family}, {learned or config.lr}, seed {seed}: {found.mean():.2f}", flush=True)
        return {"returns": found}

    which = digest(learned_folder(learned)) if learned else "adam"
    path = lambda seed: path_of(
        "learned", family, which, config, seed, count, split, made_by=[returns]
    )
    return np.stack([kept(path(seed), partial(of_seed, seed))["returns"] for seed in seeds])
