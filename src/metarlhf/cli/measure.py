"""A prior measured on held-out tasks, in stages that a continued run need not repeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from metarlhf import rlhf
from metarlhf.cli.options import MeasureOptions, file_name
from metarlhf.cli.runs import say
from metarlhf.envs import TaskFamily
from metarlhf.errors import UserError
from metarlhf.experiments.evaluation import (
    AdaptationResult,
    Curve,
    adapt_from_prior,
    adapt_from_scratch,
)
from metarlhf.experiments.references import References, references
from metarlhf.experiments.study import seconds_to_adapt, summarise
from metarlhf.meta.presets import Preset
from metarlhf.meta.prior import Prior
from metarlhf.meta.tasks import count_of, for_each, held_out_tasks
from metarlhf.ppo import PPOConfig
from metarlhf.report import (
    Example,
    FamilyPictures,
    FamilyResult,
    Mark,
    Question,
    Results,
    write_report,
)
from metarlhf.report.summary import versions
from metarlhf.runs import RunDirectory
from metarlhf.sampling.compiled import play_episodes
from metarlhf.types import Task

# Tasks that learn from scratch at a time: as many as fit the processor's caches.
BATCH = 8
# Folded into a seed's key; small numbers would give the very keys that `split` makes of it.
REFERENCES, SCRATCH = 0x4EF5, 0x5C4A


@dataclass(frozen=True)
class Measurement:
    """What is to be measured of a family."""

    family: TaskFamily
    tasks: int
    """Held-out tasks to teach."""
    scratch_tasks: int
    """How many of them are learned from scratch, too; 0: none."""
    config: rlhf.RLHFConfig
    oracle: PPOConfig
    presets: Preset
    seed: int

    @staticmethod
    def of(
        options: MeasureOptions, family: TaskFamily, config: rlhf.RLHFConfig, presets: Preset
    ) -> "Measurement":
        """As the command line says."""
        return Measurement(
            family,
            options.tasks,
            options.scratch_tasks,
            config,
            options.oracle,
            presets,
            options.seed,
        )


def scale_of(
    run: RunDirectory, family: TaskFamily, tasks: Task, oracle: PPOConfig, seed: int
) -> References:
    """Both ends of the scale, by task; each has one of its own.

    Raises:
        UserError: there is none, as PPO with the true reward ends where an untrained policy is.
    """
    scale = ends_of(run, family, tasks, oracle, seed)
    if not scale.is_a_scale:
        raise _no_scale("in some task of", family)
    return scale


def common_scale_of(
    run: RunDirectory, family: TaskFamily, tasks: Task, oracle: PPOConfig, seed: int
) -> References:
    """Both ends of a scale that all tasks share (see `References.share`).

    Raises:
        UserError: there is none, as PPO gains nothing over all.
    """
    scale = ends_of(run, family, tasks, oracle, seed)
    if scale.gained <= 0:
        raise _no_scale("over all tasks of", family)
    return scale


def _no_scale(where: str, family: TaskFamily) -> UserError:
    return UserError(
        f"PPO with the true reward gains nothing {where} {family.name}: there is nothing to "
        "compare with. Give it more (--oracle.total-steps) or other settings, in another --run-dir"
    )


def ends_of(
    run: RunDirectory, family: TaskFamily, tasks: Task, oracle: PPOConfig, seed: int
) -> References:
    """What an untrained policy gets in each task, and what PPO does."""
    say(f"{family.name}: PPO with the true reward on the same tasks, to compare with")
    key = jax.random.fold_in(jax.random.key(seed), REFERENCES)
    make = lambda: references(key, family, tasks, oracle)._asdict()
    return References(**run.keep(f"{file_name(family.name)}-references", make))


def measure(run: RunDirectory, prior: Prior, what: Measurement) -> dict[str, Any]:
    """The family's figures (see `metarlhf.experiments.study.summarise`)."""
    family, name = what.family, file_name(what.family.name)
    tasks = held_out_tasks(family, what.tasks)
    key = jax.random.key(what.seed)
    say(f"{family.name}: teaching {what.tasks} held-out tasks with {what.config.labels} answers")
    taught = run.keep(
        f"{name}-taught", lambda: taught_tasks(key, family, tasks, prior, what.config)
    )
    first = jax.tree.map(lambda x: x[0], tasks)
    seconds = run.keep(
        f"{name}-seconds",
        lambda: {"seconds": np.array(seconds_to_adapt(key, family, first, prior, what.config))},
    )
    return summarise(
        family,
        what.config,
        scale_of(run, family, tasks, what.oracle, what.seed),
        [_curve(taught)],
        _from_scratch(run, what, tasks),
        float(seconds["seconds"]),
    )


def conclude(
    run: RunDirectory, command: str, what: Measurement, found: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Write the report, and what came out; the one family's figures stand at the top, too."""
    results: Results = {
        "command": command,
        "seed": what.seed,
        "seconds": seconds,
        "versions": versions(),
        "families": [cast(FamilyResult, found)],
    }
    say("writing the report")
    arrays = run.keep(f"{file_name(what.family.name)}-taught", dict)
    drawn = {found["family"]: pictures(what.family, what.tasks, arrays, found["per_task"])}
    write_report(run.path / "report.html", results, drawn)
    return run.finish(found | results | {"seconds": found["seconds"], "total_seconds": seconds})


def _curve(arrays: dict[str, np.ndarray]) -> Curve:
    return Curve(*(arrays[name] for name in Curve._fields))


def taught_tasks(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: Prior,
    config: rlhf.RLHFConfig,
) -> dict[str, Any]:
    """The curve, and all that pictures are made of."""
    result = adapt_from_prior(key, family, tasks, prior, config)
    arrays = curve_and_episodes(key, family, tasks, prior, result)
    if result.feedback is None:
        return arrays
    comparisons, ratings = result.feedback.comparisons, result.feedback.ratings
    return arrays | {
        "left": comparisons.left.obs,
        "right": comparisons.right.obs,
        "preference": comparisons.preference,
        "rated": ratings.segment.obs,
        "mark": ratings.value,
    }


def curve_and_episodes(
    key: PRNGKeyArray,
    family: TaskFamily,
    tasks: Task,
    prior: Prior,
    result: AdaptationResult,
) -> dict[str, Any]:
    """A result's curve, and an episode of each task before it and after."""
    count = count_of(tasks)
    before = for_each(count, prior.untaught)
    arrays: dict[str, Any] = result.curve._asdict()
    for name, agents in (("before", before), ("after", result.agents)):
        obs, length = _episodes(key, family, tasks, agents)
        arrays |= {f"{name}_obs": obs, f"{name}_length": length}
    return arrays


@eqx.filter_jit
def _episodes(key, family, tasks, agents):
    """An episode of each task's policy: observations, and how many of them are its own."""

    def one(key, task, agent):
        trajectory = play_episodes(key, family, task, agent.actor, 1, deterministic=True)
        done = trajectory.done[0]
        length = jnp.where(done.any(), jnp.argmax(done) + 1, family.horizon)
        return trajectory.obs[0], length

    keys = jax.random.split(key, count_of(tasks))
    return jax.vmap(one)(keys, tasks, agents)


def _from_scratch(run: RunDirectory, what: Measurement, tasks: Task) -> list[Curve]:
    """A curve for each schedule, of the first `scratch_tasks` tasks."""
    family, name = what.family, file_name(what.family.name)
    if not what.scratch_tasks:
        return []
    say(f"{family.name}: learning {what.scratch_tasks} of the tasks from scratch")
    curves = []
    for schedule in ("few_labels", "few_steps"):
        config, parts = getattr(what.presets, schedule), []
        for begin in range(0, what.scratch_tasks, BATCH):
            part = slice(begin, min(begin + BATCH, what.scratch_tasks))
            some = jax.tree.map(lambda x: x[part], tasks)
            key = jax.random.fold_in(jax.random.key(what.seed), SCRATCH + begin)
            make = lambda: adapt_from_scratch(key, family, some, config).curve._asdict()
            parts.append(_curve(run.keep(f"{name}-{schedule}-{begin}", make)))
        returns = np.concatenate([curve.returns for curve in parts], axis=1)
        curves.append(parts[0]._replace(returns=returns))
    return curves


def pictures(
    family: TaskFamily, count: int, arrays: dict[str, Any], per_task: Sequence[float]
) -> FamilyPictures:
    """A middling one of `count` held-out tasks, the worst and the best, before and after.

    `arrays` are those of `taught_tasks`, `per_task` the normalised returns.
    """
    order = np.argsort(per_task)
    numbers = [order[len(order) // 2], order[0], order[-1]]
    tasks = held_out_tasks(family, count)

    def example(number: int) -> Example:
        cut = lambda name: arrays[f"{name}_obs"][number][: arrays[f"{name}_length"][number]]
        task = jax.tree.map(lambda x: np.asarray(x[number]), tasks)
        return Example(
            task, cut("before"), cut("after"), number=number, questions=_questions(arrays, number)
        )

    return FamilyPictures(family, [example(int(number)) for number in dict.fromkeys(numbers)])


def _questions(arrays: dict[str, np.ndarray], number: int) -> list[Question | Mark]:
    if "left" not in arrays:
        return []
    pairs = zip(
        arrays["left"][number], arrays["right"][number], arrays["preference"][number], strict=True
    )
    marks = zip(arrays["rated"][number], arrays["mark"][number], strict=True)
    asked: list[Question | Mark] = [Question(left, right, float(p)) for left, right, p in pairs]
    return asked + [Mark(clip, float(value)) for clip, value in marks]
