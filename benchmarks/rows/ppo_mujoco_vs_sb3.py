"""Steps a second of our PPO over Stable-Baselines3's, on HalfCheetah-v5, and over bare stepping.

8 environments of 256 steps, 10 passes in 32 minibatches of 64, two tanh layers of 64 for policy and
value function each, on the CPU; every other setting is the same too. Ours steps Gymnasium's
environments in a process for each core (`envs.workers`), or EnvPool's. Stable-Baselines3 is
measured both ways that it has, in one process (`DummyVecEnv`) and in a process each
(`SubprocVecEnv`), and the faster counts. Runs are by turns, each in a process of its own; the
figure is the ratio of medians, the interval the least and the greatest ratio of two runs in turn.

The share of bare stepping is our rate over that of the same environments stepped by random actions,
measured after all of these, with nobody to act or to learn: 1 would mean that learning takes no
time. MuJoCo simulates the same in both, but not the same movements: what lies on its back costs
other contacts than what runs.
"""

import statistics
from dataclasses import replace

from benchmarks.harness import Result
from benchmarks.ppo.peers import TORCH, Peer, answer, by_turns, described, interpreter, rates, ratio
from benchmarks.ppo.protocol import Settings

ROW = "ppo-mujoco-vs-sb3"
TASK = "HalfCheetah-v5"
REPEATS = 5
SETTINGS = Settings(
    environment=TASK, num_envs=8, num_steps=256, epochs=10, minibatches=32, lr=3e-4,
    entropy_coefficient=0.0,
)  # fmt: skip

ENVPOOL = (
    "envpool==1.2.5", "envpool-assets==0.3.0", "envpool-assets-mujoco-large==0.3.0",
    "dm-env==1.6", "dm-tree==0.1.9", "absl-py==2.3.1", "optree==0.20.0",
)  # fmt: skip
MUJOCO = (*TORCH, "mujoco==4.0.0", "imageio==2.38.1", "packaging==26.3")
OURS = {
    "Gymnasium, async": Peer("MetaRLHF, async", "ours_host", 20, workers="async"),
    "EnvPool": Peer("MetaRLHF, EnvPool", "ours_host", 20, workers="envpool", beside=ENVPOOL),
    "Gymnasium, sync": Peer("MetaRLHF, sync", "ours_host", 20),
}
THEIRS = (
    Peer("Stable-Baselines3, DummyVecEnv", "sb3", 6, "stable-baselines3-mujoco", MUJOCO),
    Peer("Stable-Baselines3, SubprocVecEnv", "sb3", 6, "stable-baselines3-mujoco", MUJOCO, "async"),
)


def measure(options):
    """Ratios to the faster of theirs, and to bare stepping, for each way to step."""
    repeats = options.seeds or (1 if options.quick else REPEATS)
    for rival in THEIRS:
        interpreter(rival)
    peers = (*OURS.values(), *THEIRS)
    runs = by_turns(peers, TASK, repeats, SETTINGS, quick=options.quick)
    best = max(THEIRS, key=lambda rival: statistics.median(rates(runs[rival])))
    seeds = tuple(range(repeats))
    for name, ours in OURS.items():
        targets = {} if name == "Gymnasium, sync" else {"must": 2.5}
        value, low, high = ratio(rates(runs[ours]), rates(runs[best]))
        details = {one.name: described(runs[one]) for one in (ours, *THEIRS)}
        yield Result(ROW, name, value, low=low, high=high, seeds=seeds, details=details, **targets)
    for name, ours in OURS.items():
        bare = [bare_rate(ours, seed, options.quick) for seed in seeds]
        value, low, high = ratio(rates(runs[ours]), bare)
        aim = {} if name == "Gymnasium, sync" else {"aim": 0.8}
        yield Result(
            ROW,
            f"share of bare stepping, {name}",
            value,
            low=low,
            high=high,
            seeds=seeds,
            details={"bare_steps_per_second": statistics.median(bare), "runs": bare},
            **aim,
        )


def bare_rate(ours, seed, quick):
    """Steps a second of the simulator alone."""
    updates = 2 if quick else ours.updates
    asked = replace(SETTINGS, updates=updates, seed=seed, workers=ours.workers)
    rate = answer(replace(ours, driver="bare"), asked).rate
    print(f"{TASK}, bare, {ours.workers}: {rate:,.0f} steps/s", flush=True)
    return rate
