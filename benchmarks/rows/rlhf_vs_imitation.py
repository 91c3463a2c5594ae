"""RLHF from scratch on Pendulum-v1, beside imitation 1.0.1: time of all of it, and what is learned.

Both have 200 comparisons of a simulated teacher and 50,000 steps, PPO with the same settings
(`SETTINGS`, those of imitation's documented example), policy, value function and reward networks
with two layers of 32. Five seeds each, by turns, imitation's each in a process of its own. The time
is that of the whole, from untrained networks to a trained agent; ours is given as it is when the
program was compiled before, and when it was not. Each agent plays 40 episodes of Pendulum-v1 by its
most likely actions; the return is the mean over seeds, its must imitation's less half the width of
the difference's interval.
"""

import statistics
import time
from dataclasses import asdict, replace

import jax
import numpy as np

from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from benchmarks.people.pendulum_v1 import PendulumV1
from benchmarks.ppo.peers import Peer, answer, interpreter
from benchmarks.ppo.protocol import EPISODES, Learned, Settings
from benchmarks.rows.ppo_learning import difference_interval, within
from metarlhf import envs, rlhf
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.host import evaluate
from metarlhf.statistics import mean_interval

ROW = "rlhf-vs-imitation"
SEEDS = 5
SETTINGS = Settings(
    environment="Pendulum-v1", updates=24, num_envs=8, num_steps=256, epochs=10, minibatches=32,
    hidden=(32, 32), lr=2e-3, gamma=0.97, clip=0.1, entropy_coefficient=0.01,
)  # fmt: skip
IMITATION = Peer(
    "imitation", "imitation_preferences", 24, "imitation",
    ("torch==2.13.0", "imitation==1.0.1", "stable-baselines3==2.2.1", "gymnasium==0.29.1",
     "numpy==1.26.4"),
    drivers="benchmarks.people.drivers",
)  # fmt: skip
ROUNDS = 12
CONFIG = RLHFConfig(
    labels=200,
    rounds=ROUNDS,
    updates=SETTINGS.updates // ROUNDS,
    final_updates=0,
    ppo=PPOConfig(
        num_envs=SETTINGS.num_envs, num_steps=SETTINGS.num_steps, epochs=SETTINGS.epochs,
        minibatches=SETTINGS.minibatches, hidden=SETTINGS.hidden, lr=SETTINGS.lr, anneal_lr=False,
        gamma=SETTINGS.gamma, gae_lambda=SETTINGS.gae_lambda, clip=SETTINGS.clip,
        entropy_coefficient=SETTINGS.entropy_coefficient, normalise_obs=True,
    ),
)  # fmt: skip
# As good as 50 or 100 steps a round and twice as fast, on seeds 100 to 107, which are not measured.
ENSEMBLE = EnsembleConfig(hidden=(32, 32), fit_steps=25)
FAMILY = PendulumV1()
TASK = FAMILY.sample(jax.random.key(0))


def measure(options):
    """Time and return."""
    seeds = range(options.seeds or (1 if options.quick else SEEDS))
    interpreter(IMITATION)
    theirs, ours, first = [], [], None
    for seed in seeds:
        theirs.append(imitation(replace(SETTINGS, seed=seed)))
        if first is None:
            first = learn(seed)["seconds"]
        ours.append(learn(seed))
    times = [[float(one["seconds"]) for one in runs] for runs in (ours, theirs)]
    ratios = [b / a for a, b in zip(*times, strict=True)]
    details = {
        "seconds": {"ours": times[0], "theirs": times[1], "ours_with_compilation": first},
        "config": repr(CONFIG),
    }
    value = statistics.median(times[1]) / statistics.median(times[0])
    yield Result(
        ROW, "times as fast, compiled before", value, low=min(value, *ratios),
        high=max(value, *ratios), must=30, seeds=tuple(seeds), details=details,
    )  # fmt: skip
    yield Result(
        ROW, "times as fast, compilation included", statistics.median(times[1]) / first,
        seeds=tuple(seeds),
    )  # fmt: skip
    means = [np.array([np.mean(one["mode"]) for one in runs]) for runs in (ours, theirs)]
    found, difference = mean_interval(means[0]), difference_interval(*means)
    yield Result.of(
        ROW, "return", found,
        must=within(means[1], difference), seeds=tuple(seeds),
        details={"ours": means[0].tolist(), "theirs": means[1].tolist()},
    )  # fmt: skip


def imitation(settings):
    """One run of the peer."""
    path = path_of("imitation", "pendulum", IMITATION.requirements, settings, made_by=[])
    found = kept(path, lambda: asdict(answer(IMITATION, settings, Learned)))
    print(f"  imitation, seed {settings.seed}: {found['mode'].mean():.0f}", flush=True)
    return found


def learn(seed):
    """One of ours."""
    clock = time.perf_counter()
    state = begin(jax.random.key(seed))
    for _ in range(CONFIG.rounds):
        state = one_round(state)
    agent = jax.block_until_ready(state.ppo.agent)
    seconds = time.perf_counter() - clock
    assert int(state.steps) == SETTINGS.steps
    assert int(state.answers.count) == CONFIG.labels
    env = envs.connect(SETTINGS.environment, EPISODES)
    returns = evaluate(jax.random.key(seed + 1_000), env, agent.actor)
    print(f"  ours, seed {seed}: {returns.mean():.0f} in {seconds:.2f} s", flush=True)
    return {"mode": returns, "seconds": seconds}


@jax.jit
def begin(key):
    """Untrained networks."""
    return rlhf.from_scratch(
        key, CompiledSampler(FAMILY, TASK, CONFIG.ppo.num_envs), CONFIG, ENSEMBLE
    )


@jax.jit
def one_round(state):
    """Questions, a fit and updates."""
    return rlhf.run_round(state, CompiledSampler(FAMILY, TASK, CONFIG.ppo.num_envs), CONFIG)[0]
