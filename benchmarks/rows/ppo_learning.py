"""What our PPO learns beside Stable-Baselines3's.

Both train with the same settings and networks (`SETTINGS`, `benchmarks.ppo.protocol.Settings`), as
many steps, five seeds each. The trained agents then play 40 fresh episodes in the same environments
of Gymnasium, their actions drawn as in training; a seed counts by its mean true return. CartPole,
Acrobot and Pendulum are compiled for our training, the three of MuJoCo step in Gymnasium for both.

The figure is our mean return with its bootstrap interval over seeds. The must is "at least theirs
within the confidence interval": their mean less half the width of the interval of the difference.
Their mean, and what both do by their most likely actions, is in the details.

Every run is kept when it is done (`benchmarks.kept`), and a core has a run of its own.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np

from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from benchmarks.ppo.peers import OURS, SB3, answer, interpreter
from benchmarks.ppo.protocol import EPISODES, Learned, Settings
from benchmarks.rows.ppo_mujoco_vs_sb3 import MUJOCO
from metarlhf.statistics import Interval, mean_interval

ROW = "ppo-learning"
SEEDS = 5

PLAIN = Settings(value_clip=False, anneal_lr=True, entropy_coefficient=0.0)
RUNNING = replace(
    PLAIN, updates=488, num_envs=8, num_steps=256, epochs=10, minibatches=32, lr=3e-4,
    normalise=True,
)  # fmt: skip
# The first three by RL Baselines3 Zoo's settings, as far as both have them; MuJoCo by Huang et al.
# 2022, on eight environments.
SETTINGS = {
    "CartPole-v1": replace(
        PLAIN, updates=390, num_envs=8, num_steps=32, epochs=20, minibatches=1, gamma=0.98,
        gae_lambda=0.8,
    ),
    "Acrobot-v1": replace(
        PLAIN, updates=73, num_envs=16, num_steps=256, epochs=4, minibatches=64, lr=3e-4,
        gae_lambda=0.94, normalise=True,
    ),
    "Pendulum-v1": replace(
        PLAIN, updates=49, num_envs=4, num_steps=1024, epochs=10, minibatches=64, gamma=0.9,
    ),
    "HalfCheetah-v5": RUNNING,
    "Hopper-v5": RUNNING,
    "Walker2d-v5": RUNNING,
}  # fmt: skip
PEERS = (
    replace(OURS, driver="ours_learns"),
    replace(SB3, driver="sb3_learns", environment="stable-baselines3-mujoco", requirements=MUJOCO),
)


def measure(options):
    """Every task beside Stable-Baselines3."""
    seeds = range(options.seeds or (2 if options.quick else SEEDS))
    settings = {
        name: replace(own, environment=name, updates=2 if options.quick else own.updates)
        for name, own in SETTINGS.items()
    }
    for peer in PEERS:
        interpreter(peer)
    # Seed by seed, so that all tasks have some soon.
    runs = [
        (peer, replace(settings[name], seed=seed))
        for seed in seeds
        for name in settings
        for peer in PEERS
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        learned = dict(zip(runs, pool.map(lambda run: learn(*run), runs), strict=True))
    for own in settings.values():
        ours, theirs = (
            [learned[peer, replace(own, seed=seed)] for seed in seeds] for peer in PEERS
        )
        yield beside(own, ours, theirs, tuple(seeds))


def learn(peer, settings):
    """One run, in a process of its own."""
    made_by = [f"{peer.drivers}.{peer.driver}"] if peer.environment is None else []
    made_with = (peer.requirements, settings, EPISODES)
    path = path_of("learned", f"{peer.driver}-{settings.environment}", *made_with, made_by=made_by)
    found = kept(path, lambda: asdict(answer(peer, settings, Learned)))
    returns, seconds = found["sampled"].mean(), found["seconds"]
    name = f"{settings.environment}, {peer.name}, seed {settings.seed}"
    print(f"{name}: {returns:,.1f} in {seconds:.0f} s", flush=True)
    return found


def beside(settings, ours, theirs, seeds):
    """The figure of one task."""
    means = [np.array([one["sampled"].mean() for one in runs]) for runs in (ours, theirs)]
    found = mean_interval(means[0])
    difference = difference_interval(*means)
    return Result.of(
        ROW,
        settings.environment,
        found,
        must=within(means[1], difference),
        seeds=seeds,
        details={
            "steps": settings.steps,
            "settings": asdict(settings),
            "their_mean": float(means[1].mean()),
            "difference": difference._asdict(),
            "by_seed": {"ours": means[0].tolist(), "theirs": means[1].tolist()},
            "by_mode": {
                who: [float(one["mode"].mean()) for one in runs]
                for who, runs in (("ours", ours), ("theirs", theirs))
            },
            "seconds_of_training": {
                who: [float(one["seconds"]) for one in runs]
                for who, runs in (("ours", ours), ("theirs", theirs))
            },
        },
    )


def difference_interval(above, below, resamples=10_000):
    """Mean difference of two sets of seeds, 95 % by the bootstrap, each drawn by itself."""
    rng = np.random.default_rng(0)
    draw = lambda values: values[rng.integers(len(values), size=(resamples, len(values)))].mean(1)
    low, high = np.quantile(draw(above) - draw(below), [0.025, 0.975])
    return Interval(float(above.mean() - below.mean()), float(low), float(high))


def within(below, difference):
    """The mean that is at least theirs within the confidence interval."""
    return float(below.mean() - (difference.high - difference.low) / 2)
