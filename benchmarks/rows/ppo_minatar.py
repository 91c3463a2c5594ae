"""What our PPO learns of Breakout-MinAtar in ten million steps, beside PureJaxRL's published curve.

By the preset for MinAtar, in Gymnax's environment. The trained agent then plays 40 fresh episodes,
its actions drawn as in training; a seed counts by its mean return. The must is where PureJaxRL's
curve ends, about 40, read by eye off the figure in its README (github.com/luchris429/purejaxrl):
the middle of its seeds, which lie between 25 and 55. Its network is two layers of 64 on the
flattened picture, its step size 5e-3, by the notebook beside that figure; all else is as here.

Every seed is kept when it is done (`benchmarks.kept`).
"""

from dataclasses import replace

import jax

from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from benchmarks.ppo.protocol import EPISODES
from metarlhf import envs, ppo
from metarlhf.ppo.presets import MINATAR
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import evaluate
from metarlhf.statistics import mean_interval

ROW = "ppo-minatar"
SEEDS = 5
TASK, PUBLISHED = "gymnax:Breakout-MinAtar", 40.0


def measure(options):
    """One figure."""
    seeds = tuple(range(options.seeds or (1 if options.quick else SEEDS)))
    config = replace(MINATAR, total_steps=20_000 if options.quick else 10_000_000)
    runs = []
    for seed in seeds:
        path = path_of("learned", "ours-Breakout-MinAtar", seed, config, made_by=[train])
        runs.append(kept(path, lambda seed=seed: train(config, seed)))
        print(f"{TASK}, seed {seed}: {runs[-1]['sampled'].mean():.1f}", flush=True)
    found = mean_interval([one["sampled"].mean() for one in runs])
    yield Result.of(
        ROW,
        "Breakout-MinAtar",
        found,
        must=PUBLISHED,
        seeds=seeds,
        details={
            "steps": config.steps,
            "by_seed": [float(one["sampled"].mean()) for one in runs],
            "by_mode": [float(one["mode"].mean()) for one in runs],
        },
    )


def train(config, seed):
    """One run, and what its agent is paid."""
    family = envs.make(TASK)
    task = family.sample(jax.random.key(0))
    state = ppo.init(jax.random.key(seed), CompiledSampler(family, task, config.num_envs), config)
    state, _ = ppo.iterate_many(
        state, CompiledSampler(family, task, config.num_envs), config, config.num_updates
    )
    key = jax.random.key(seed + 1_000)
    play = lambda mode: evaluate(key, family, task, state.agent.actor, EPISODES, mode)
    return {"sampled": play(False), "mode": play(True)}
