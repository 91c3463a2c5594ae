"""Long practice on a reward that few answers taught: unguarded, with each guard, and watched.

RLHF from scratch on ten held-out tasks of navigation, each with networks and answers of its own. A
point may go anywhere on the plane, but is only ever seen near the start while it asks: PPO soon
finds that the learned reward rises for ever beyond the goal. All have `LABELS` answers. Those that
are not watched have them all before a hundred updates of practice; those that are watched have a
third of them before, and the rest for checks. The true return is taken after every `EVERY` updates,
before and after a check, by whole episodes of the policy's mode, and normalised: 0 is an untrained
policy, 1 is PPO on the true reward. Each figure compares the mean over seeds at the end with the
mean over seeds of the best that each ever had; the interval is a bootstrap over seeds.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np

from benchmarks.few_shot import Plan
from benchmarks.harness import Result
from benchmarks.kept import kept, path_of
from metarlhf import envs, rlhf
from metarlhf.experiments.references import References, references
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf import RLHFConfig, WatchConfig
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import evaluate

ROW = "over-optimisation"
FAMILY, SEEDS, LABELS, CHECKED, EVERY, UPDATES = "navigation", 10, 36, 24, 2, 100
NAIVE = RLHFConfig(
    labels=LABELS,
    rounds=4,
    final_updates=UPDATES,
    ppo=PPOConfig(num_envs=8, gamma=0.97, anneal_lr=False),
)
WATCH = WatchConfig(every=EVERY, budget=CHECKED)
WATCHED = replace(NAIVE, labels=LABELS - CHECKED, watch=WATCH)
VARIANTS = {
    "naive": NAIVE,
    "pessimism alone": replace(NAIVE, pessimism=1.0),
    "clipped reward alone": replace(NAIVE, clip_reward=True),
    "leash alone": replace(NAIVE, leash=0.1),
    "watched, halts": WATCHED,
    "watched, asks again": replace(WATCHED, watch=replace(WATCH, asks=True)),
}
MUST = {"naive": 0.2, "watched, asks again": 0.05}
"""Of its best, the naive run is to lose at least so much, and the guarded one no more."""


def measure(options):
    """How much of its best each has lost by the end."""
    seeds = options.seeds or (2 if options.quick else SEEDS)
    plan = replace(Plan.of(options), num_tasks=seeds)
    scale = references_of(plan)
    for name, config in VARIANTS.items():
        config = replace(config, final_updates=4) if options.quick else config
        curve = scale.normalise(taught(name, config, seeds)["returns"])
        best, end = curve.max(0), curve[-1]
        lost, low, high = share_lost(best, end)
        guards = name != "naive"
        yield Result(
            ROW,
            f"{name}: lost of its best",
            100 * lost,
            unit="%",
            low=100 * low,
            high=100 * high,
            must=100 * MUST[name] if name in MUST else None,
            better="lower" if guards else "higher",
            seeds=tuple(range(seeds)),
            details={
                "best": best,
                "end": end,
                "mean_best": float(best.mean()),
                "mean_end": float(end.mean()),
                "curve": curve.mean(1),
            },
        )


def references_of(plan):
    """Both ends of the scale, where no episode ends at the goal, as it is practised."""
    config = plan.preset(FAMILY).oracle
    family = envs.make(FAMILY).without_termination()
    tasks = held_out_tasks(family, plan.num_tasks)
    make = lambda: references(jax.random.key(1), family, tasks, config)._asdict()
    made_with = (plan.num_tasks, config)
    path = path_of("endless-references", FAMILY, *made_with, made_by=[references_of])
    return References(**kept(path, make))


def share_lost(best, end, resamples=10_000):
    """1 - mean(end) / mean(best), and its 95 % interval over seeds."""
    drawn = np.random.default_rng(0).integers(len(best), size=(resamples, len(best)))
    resampled = 1.0 - end[drawn].mean(1) / best[drawn].mean(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    value = float(1.0 - end.mean() / best.mean())
    return value, min(float(low), value), max(float(high), value)


def taught(name, config, seeds):
    """True returns [point, seed]: at first, after each round, and while it practises."""
    name_of_file = name.replace(" ", "-").replace(",", "")
    path = path_of("over-optimised", name_of_file, config, seeds, made_by=[taught])

    def teach():
        family = envs.make(FAMILY)
        tasks = held_out_tasks(family, seeds)
        states = begin(jax.random.split(jax.random.key(0), seeds), tasks, config)
        found = [returns(states, tasks)]
        for _ in range(config.rounds):
            states = one_round(states, tasks, config)
            found.append(returns(states, tasks))
        for _ in range(config.final_updates // EVERY):
            # As practice leaves it, liked or not; then as the check does.
            tried = practise(states, tasks, config)
            found.append(returns(tried, tasks))
            if config.checks:
                found[-1] = np.where(states.checks.halted, found[-2], found[-1])
                tried = stage(states, tasks, config)
                found.append(returns(tried, tasks))
            states = tried
        found = np.stack(found)
        print(f"  {name}: {found.max(0).mean():.1f} at best, {found[-1].mean():.1f} in the end")
        return {"returns": found}

    return kept(path, teach)


def over_tasks(function):
    """Side by side, in one compiled program."""

    @partial(jax.jit, static_argnames=("config",))
    def compiled(states, tasks, config):
        family = envs.make(FAMILY).without_termination()
        sampler = lambda task: CompiledSampler(family, task, config.ppo.num_envs)
        return jax.vmap(lambda state, task: function(state, sampler(task), config))(states, tasks)

    return compiled


begin = over_tasks(rlhf.from_scratch)
one_round = over_tasks(lambda *state: rlhf.run_round(*state)[0])


stage = over_tasks(lambda *state: rlhf.final_part(*state)[0])
practise = over_tasks(lambda *state: rlhf.optimise_policy(*state, EVERY)[0])


@jax.jit
def returns(states, tasks):
    """Of whole episodes; they all begin in one place."""
    family = envs.make(FAMILY).without_termination()
    one = lambda state, task: evaluate(state.key, family, task, state.ppo.agent.actor, 1).mean()
    return jax.vmap(one)(states, tasks)
