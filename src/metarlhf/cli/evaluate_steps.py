"""`metarlhf evaluate` of a prior that learns from what tasks pay: what each gradient step gains."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from metarlhf.cli.measure import common_scale_of, curve_and_episodes, pictures
from metarlhf.cli.runs import say, show
from metarlhf.experiments.evaluation import adapt_from_prior
from metarlhf.experiments.references import STARTS, pretrained_start, random_start, tuned
from metarlhf.experiments.study import seconds_to_adapt
from metarlhf.meta.prior import GradientPrior
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.report import StepsResult, write_steps
from metarlhf.report.steps import intervals, lines, stacked
from metarlhf.report.summary import versions
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs import RunDirectory
from metarlhf.types import Task

VALIDATION_TASKS = 16
NO_QUESTIONS = RLHFConfig(labels=0)


def run_in(run: RunDirectory, options: Any, priors: Sequence[GradientPrior]) -> int:
    """Measure priors that differ by the seed of their meta-training."""
    result: Any = run.result or _evaluate(options, run, priors)
    return show(result, [*lines(result), f"report: {run.path / 'report.html'}"], options.json)


def _evaluate(options: Any, run: RunDirectory, priors: Sequence[GradientPrior]) -> StepsResult:
    family, shape = priors[0].family, priors[0].shape
    steps = shape.policy.inner_steps if options.steps is None else options.steps
    tasks, key = held_out_tasks(family, options.tasks), jax.random.key(options.seed)
    say(f"{family.name}: adapting to {options.tasks} held-out tasks, {steps} steps each")
    scale = common_scale_of(run, family, tasks, options.oracle, options.seed)
    each = [
        run.keep(f"adapted-{i}", partial(_adapted, _seed(key, i), tasks, prior, steps))
        for i, prior in enumerate(priors)
    ]
    starts = _starts(options, run, priors, tasks, steps)
    alone = jax.tree.map(lambda x: x[0], tasks)
    clock = lambda: {
        "s": np.array(seconds_to_adapt(key, family, alone, priors[0], NO_QUESTIONS, steps))
    }
    seconds = float(run.keep("seconds", clock)["s"])
    returns = stacked(each, "returns")
    result: StepsResult = {
        "command": "evaluate",
        "seed": options.seed,
        "total_seconds": run.seconds,
        "versions": versions(),
        "family": family.name,
        "varies": family.varies,
        "num_tasks": options.tasks,
        "num_priors": len(priors),
        "episodes_of_a_step": shape.policy.episodes,
        "environment_steps_of_a_step": shape.policy.episodes * family.horizon,
        "meta_training_steps": _meta_training_steps(priors[0]),
        "returns": intervals(returns),
        "shares": intervals(scale.share(returns)),
        "starts": {
            name: {
                "returns": intervals(stacked(found, "returns")),
                "shares": intervals(scale.share(stacked(found, "returns"))),
                "behind": intervals(returns - stacked(found, "returns")),
                "step_sizes": stacked(found, "step_size").tolist(),
            }
            for name, found in starts.items()
        },
        "gains": intervals(returns[:, 1:] - returns[:, :1]),
        "untrained_return": float(scale.untrained.mean()),
        "untrained_spread": scale.spread,
        "oracle_return": float(scale.oracle.mean()),
        "oracle_hardly_learns": scale.hardly_learns,
        "oracle_steps": options.oracle.steps,
        "seconds": seconds,
        "per_task": scale.share(returns[:, -1]).mean(0).tolist(),
    }
    say("writing the report")
    drawn = pictures(family, options.tasks, each[0], result["per_task"])
    write_steps(run.path / "report.html", result, drawn)
    run.finish(dict(result))
    return result


def _adapted(key: jax.Array, tasks: Task, start: GradientPrior, steps: int) -> dict[str, Any]:
    """What so many steps come to in every task, and an episode of each."""
    result = adapt_from_prior(key, start.family, tasks, start, NO_QUESTIONS, steps=steps)
    return curve_and_episodes(key, start.family, tasks, start, result)


def _starts(
    options: Any,
    run: RunDirectory,
    priors: Sequence[GradientPrior],
    tasks: Task,
    steps: int,
) -> dict[str, list[dict[str, np.ndarray]]]:
    """The same from elsewhere, to compare with: as many starts as there are priors."""
    family, shape = priors[0].family, priors[0].shape

    def measured(name: str, begin: Callable[[jax.Array], GradientPrior]) -> list[dict[str, Any]]:
        def make(key: jax.Array) -> dict[str, Any]:
            begin_key, judge_key, key = jax.random.split(key, 3)
            found = tuned(begin(begin_key), partial(_judged, judge_key, steps=steps))
            step_size = np.array(found.step_size)
            return _adapted(key, tasks, found.start, steps) | {"step_size": step_size}

        key = jax.random.fold_in(jax.random.key(options.seed), STARTS[name])
        return [run.keep(f"{name}-{i}", partial(make, _seed(key, i))) for i in range(len(priors))]

    say(f"{family.name}: the same from a random start, to compare with")
    starts = {"random": measured("random", lambda key: random_start(key, shape))}
    if options.pretraining:
        config = replace(options.oracle, total_steps=_meta_training_steps(priors[0]))
        say(f"{family.name}: and from {config.total_steps} steps of pretraining on all tasks")
        begin = lambda key: pretrained_start(key, shape, family, config)
        starts["pretrained"] = measured("pretrained", begin)
    return starts


def _judged(key: jax.Array, start: GradientPrior, steps: int) -> float:
    """What so many steps come to on validation tasks."""
    tasks = held_out_tasks(start.family, VALIDATION_TASKS, "validation")
    result = adapt_from_prior(key, start.family, tasks, start, NO_QUESTIONS, steps=steps)
    return float(np.mean(result.curve.returns[-1]))


def _meta_training_steps(prior: GradientPrior) -> int:
    """Environment steps that it was made in."""
    policy = prior.shape.policy
    return policy.iterations * policy.episodes_of_iteration * prior.family.horizon


def _seed(key: jax.Array, number: int) -> jax.Array:
    """A key for each prior; the first has the key itself."""
    return jax.random.fold_in(key, number) if number else key
