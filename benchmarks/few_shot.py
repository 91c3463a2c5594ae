"""What the few-shot rows share: priors, references and learning from scratch, each made once.

All are kept (`benchmarks.kept`), so that several rows measure the same priors.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.harness import Options, Result, Stopwatch
from benchmarks.kept import kept, path_of
from metarlhf import envs, files, rlhf
from metarlhf.experiments.evaluation import Curve, adapt_from_prior, adapt_from_scratch
from metarlhf.experiments.references import References, references
from metarlhf.meta import joint, presets
from metarlhf.meta.prior import PosteriorPrior, load_prior
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.statistics import mean_interval

FAMILIES = presets.FAMILIES


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    seeds: tuple[int, ...]
    num_tasks: int
    quick: bool

    @staticmethod
    def of(options: Options) -> "Plan":
        """40 held-out tasks and 5 seeds, or what the command line says."""
        seeds = options.seeds or (2 if options.quick else 5)
        return Plan(
            tuple(range(seeds)), options.tasks or (4 if options.quick else 40), options.quick
        )

    def preset(self, family: str) -> presets.Preset:
        """The family's preset; made small when quick."""
        preset = presets.preset(family)
        if not self.quick:
            return preset
        small = replace(preset.few_labels, labels=4, rounds=2, updates=1, final_updates=0)
        return replace(
            preset,
            joint=replace(preset.joint, iterations=2, reward_steps=2),
            oracle=replace(preset.oracle, total_steps=20_000, evaluate_every=3),
            few_labels=small,
            few_steps=small,
        )


def prior_path(family: str, seed: int, config: joint.JointConfig) -> Path:
    """Where the prior of a family and a seed is kept."""
    return path_of("prior", family, seed, config, made_by=[prior_of])


def prior_of(family: str, seed: int, config: joint.JointConfig) -> PosteriorPrior:
    """Meta-trained on the family with this seed, or read back."""
    path = prior_path(family, seed, config)
    if (path / files.DESCRIPTION).exists():  # written last
        return load_prior(path)
    made = envs.make(family)
    learning = made.without_termination()
    state, watch = joint.init(jax.random.key(seed), learning, config), Stopwatch()
    *_, (trained, metrics) = joint.meta_train(state, learning, config)
    prior = joint.prior_of(trained, made, config)
    about = {"seconds": watch.seconds, "seed": seed, "metrics": metrics, "config": repr(config)}
    prior.save(path, about)
    print(f"  {family}, seed {seed}: meta-trained in {watch.seconds:.0f} s", flush=True)
    return prior


def references_of(family: str, plan: Plan) -> References:
    """Both ends of the scale for the held-out tasks."""
    oracle = plan.preset(family).oracle
    made = envs.make(family)
    tasks = held_out_tasks(made, plan.num_tasks)
    make = lambda: references(jax.random.key(1), made, tasks, oracle)._asdict()
    path = path_of("references", family, plan.num_tasks, oracle, made_by=[references_of])
    return References(**kept(path, make))


def taught(family: str, plan: Plan, config: rlhf.RLHFConfig) -> list[Curve]:
    """What the prior of each seed makes of the held-out tasks."""
    made = envs.make(family)
    tasks = held_out_tasks(made, plan.num_tasks)
    meta = plan.preset(family).joint

    def one(seed: int) -> Curve:
        path = path_of("taught", family, seed, meta, plan.num_tasks, config, made_by=[taught])
        key = jax.random.fold_in(jax.random.key(seed), 0xADA)
        make = lambda: adapt_from_prior(
            key, made, tasks, prior_of(family, seed, meta), config
        ).curve._asdict()
        return Curve(**kept(path, make))

    return [one(seed) for seed in plan.seeds]


def from_scratch(family: str, plan: Plan) -> list[Curve]:
    """RLHF without a prior on the same tasks, by each of the tuned schedules.

    Every task is a run of its own, with its own networks and answers: the tasks are the seeds.
    """
    preset = plan.preset(family)
    return [_learned(family, plan, config) for config in (preset.few_labels, preset.few_steps)]


def _learned(family: str, plan: Plan, config: rlhf.RLHFConfig, size: int = 8) -> Curve:
    """Tasks in batches, which fit the processor's caches better than all at once."""
    made = envs.make(family)
    tasks = held_out_tasks(made, plan.num_tasks)
    practice = min(4, config.final_updates) or 1

    def teach(part: slice) -> dict[str, Any]:
        watch = Stopwatch()
        some = jax.tree.map(lambda x: x[part], tasks)
        lesson = adapt_from_scratch(
            jax.random.key(part.start), made, some, config, practice=practice
        )
        print(f"  from scratch: tasks to {part.stop} in {watch.seconds:.0f} s", flush=True)
        return lesson.curve._asdict()

    curves = []
    for begin in range(0, plan.num_tasks, size):
        part = slice(begin, min(begin + size, plan.num_tasks))
        path = path_of("scratch", family, plan.num_tasks, part, config, made_by=[_learned])
        curves.append(Curve(**kept(path, partial(teach, part))))
    return curves[0]._replace(returns=np.concatenate([c.returns for c in curves], axis=1))


def few_shot(
    row: str, kind: str, targets: dict[str, tuple[float, float]], options: Options
) -> Iterable[Result]:
    """Normalised return for each family in `targets` (must, aim), taught as preset `kind` says."""
    plan = Plan.of(options)
    for family, (must, aim) in targets.items():
        config = getattr(plan.preset(family), kind)
        scale = references_of(family, plan)
        curves = taught(family, plan, config)
        final = np.stack([curve.returns[-1] for curve in curves])
        normalised = scale.normalise(final)
        found = mean_interval(normalised, shared_tasks=True)
        span = scale.oracle.mean() - scale.untrained.mean()
        yield Result.of(
            row,
            family,
            found,
            must=must,
            aim=aim,
            seeds=plan.seeds,
            details={
                "held_out_tasks": plan.num_tasks,
                "labels": config.labels,
                "steps": float(curves[0].steps[-1]),
                "by_seed": normalised.mean(1).round(4),
                "median_task": float(np.median(normalised)),
                "worst_task": float(normalised.mean(0).min()),
                "of_mean_returns": float((final.mean() - scale.untrained.mean()) / span),
                "return": float(final.mean()),
                "untrained_return": float(scale.untrained.mean()),
                "oracle_return": float(scale.oracle.mean()),
            },
        )
