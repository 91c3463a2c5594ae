"""`metarlhf evaluate` of a prior that learns from what tasks pay: what each gradient step gains."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from metarlhf.cli.measure import curve_and_episodes, pictures, scale_of
from metarlhf.cli.options import PriorPath, RunOptions, file_name, open_run, parse, say, show
from metarlhf.cli.summary import versions
from metarlhf.files import digest
from metarlhf.meta.evaluate import held_out_tasks, teach_by_gradient
from metarlhf.meta.gradient_prior import GradientPrior
from metarlhf.meta.presets import Preset
from metarlhf.meta.starts import (
    NOBODY,
    meta_training_steps,
    pretrained_start,
    random_start,
    tuned,
)
from metarlhf.meta.study import seconds_to_adapt
from metarlhf.ppo import PPOConfig
from metarlhf.report import Interval, StepsResult, write_steps
from metarlhf.report.steps import lines
from metarlhf.runs import RunDirectory
from metarlhf.statistics import mean_interval
from metarlhf.types import Task

# Folded into the seed's key: other starts act in the same tasks with other noise.
STARTS = {"random": 0x4A7D, "pretrained": 0x93E7}


@dataclass(frozen=True)
class EvaluateSteps(RunOptions):
    """Adapt to held-out tasks by gradient steps on what they pay, from a prior, from a random start
    and from a policy that was pretrained on all tasks; compare with PPO, write a report.
    """

    prior: PriorPath = Path("prior")
    """Folder that `metarlhf meta-train` published."""
    task: str | None = None
    """The family that the tasks are of; refused if the prior is of another."""
    tasks: int = 40
    """Held-out tasks to adapt to."""
    steps: int | None = None
    """Gradient steps; as many as in meta-training unless named."""
    oracle: PPOConfig = field(default_factory=PPOConfig)
    """PPO with the true reward, which all is compared with; pretraining learns by the same."""
    pretraining: bool = True
    """Compare with pretraining on all tasks, too, in as many steps as meta-training had."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, but is {value}")


def main(argv: Sequence[str], prior: GradientPrior, presets: Preset) -> int:
    """Run the command for a prior that was read already."""
    options = parse(EvaluateSteps, argv, "evaluate", EvaluateSteps(oracle=presets.oracle))
    begins_with = digest(options.prior) or ""
    name = f"evaluate-{file_name(prior.shape.family)}-{begins_with[:6]}"
    with open_run(options, name, begins_with) as run:
        result: Any = run.result or _evaluate(options, run, prior)
        return show(result, [*lines(result), f"report: {run.path / 'report.html'}"], options.json)


def _evaluate(options: EvaluateSteps, run: RunDirectory, prior: GradientPrior) -> StepsResult:
    family, shape, begin = prior.family, prior.shape, time.monotonic()
    steps = shape.policy.inner_steps if options.steps is None else options.steps
    tasks, key = held_out_tasks(family, options.tasks), jax.random.key(options.seed)
    say(f"{family.name}: adapting to {options.tasks} held-out tasks, {steps} steps each")
    taught = run.keep("adapted", lambda: _adapted(key, tasks, prior, steps))
    starts = _starts(options, run, prior, tasks, steps)
    alone = jax.tree.map(lambda x: x[0], tasks)
    clock = lambda: {"s": np.array(seconds_to_adapt(key, family, alone, prior, NOBODY, steps))}
    seconds = float(run.keep("seconds", clock)["s"])
    scale = scale_of(run, family, tasks, options.oracle, options.seed)
    returns = taught["returns"]
    result: StepsResult = {
        "command": "evaluate",
        "seed": options.seed,
        "total_seconds": time.monotonic() - begin,
        "versions": versions(),
        "family": family.name,
        "varies": family.varies,
        "num_tasks": options.tasks,
        "episodes_of_a_step": shape.policy.episodes,
        "environment_steps_of_a_step": shape.policy.episodes * family.horizon,
        "meta_training_steps": meta_training_steps(shape, family),
        "returns": _intervals(returns),
        "shares": _intervals(scale.normalise(returns)),
        "starts": {
            name: {
                "returns": _intervals(start["returns"]),
                "shares": _intervals(scale.normalise(start["returns"])),
                "step_size": float(start["step_size"]),
            }
            for name, start in starts.items()
        },
        "gains": _intervals(returns[1:] - returns[0]),
        "untrained_return": float(scale.untrained.mean()),
        "untrained_spread": scale.spread,
        "oracle_return": float(scale.oracle.mean()),
        "oracle_hardly_learns": scale.hardly_learns,
        "seconds": seconds,
        "per_task": scale.normalise(returns[-1]).tolist(),
    }
    say("writing the report")
    drawn = pictures(family, options.tasks, taught, result["per_task"])
    write_steps(run.path / "report.html", result, drawn)
    run.finish(dict(result))
    return result


def _adapted(key: jax.Array, tasks: Task, start: GradientPrior, steps: int) -> dict[str, Any]:
    """What so many steps come to in every task, and an episode of each."""
    lesson = teach_by_gradient(key, start.family, tasks, start, NOBODY, steps=steps)
    return curve_and_episodes(key, start.family, tasks, start, lesson)


def _starts(
    options: EvaluateSteps, run: RunDirectory, prior: GradientPrior, tasks: Task, steps: int
) -> dict[str, dict[str, np.ndarray]]:
    """The same from elsewhere, to compare with."""
    family, shape = prior.family, prior.shape

    def measured(name: str, begin: Callable[[jax.Array], GradientPrior]) -> dict[str, np.ndarray]:
        def make() -> dict[str, Any]:
            key = jax.random.fold_in(jax.random.key(options.seed), STARTS[name])
            found = tuned(key, begin(key), steps)
            step_size = np.array(found.step_size)
            return _adapted(key, tasks, found.start, steps) | {"step_size": step_size}

        return run.keep(name, make)

    say(f"{family.name}: the same from a random start, to compare with")
    starts = {"random": measured("random", lambda key: random_start(key, shape))}
    if options.pretraining:
        count = meta_training_steps(shape, family)
        say(f"{family.name}: and from {count} steps of pretraining on all tasks")
        begin = lambda key: pretrained_start(key, shape, family, options.oracle)
        starts["pretrained"] = measured("pretrained", begin)
    return starts


def _intervals(values: Float[np.ndarray, "step task"]) -> list[Interval]:
    """Of means over tasks."""
    found = [mean_interval(row[:, None]) for row in values]
    return [{"mean": one.mean, "low": one.low, "high": one.high} for one in found]
