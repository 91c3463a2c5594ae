"""`metarlhf evaluate` of a prior that learns from what tasks pay: what each gradient step gains."""

import time
from collections.abc import Sequence
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
from metarlhf.meta.gradient_prior import GradientPrior, blank
from metarlhf.meta.presets import Preset
from metarlhf.meta.study import seconds_to_adapt
from metarlhf.ppo import PPOConfig
from metarlhf.report import Interval, StepsResult, write_steps
from metarlhf.report.steps import lines
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs import RunDirectory
from metarlhf.statistics import mean_interval

# Folded into the seed's key: a random start acts in the same tasks with other noise.
RANDOM = 0x4A7D


@dataclass(frozen=True)
class EvaluateSteps(RunOptions):
    """Adapt to held-out tasks by gradient steps on what they pay, from a prior and from a random
    start; compare with PPO, write a report.
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
    """PPO with the true reward, which all is compared with."""

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
    family, policy, begin = prior.family, prior.shape.policy, time.monotonic()
    steps = policy.inner_steps if options.steps is None else options.steps
    tasks, key = held_out_tasks(family, options.tasks), jax.random.key(options.seed)
    nobody = RLHFConfig(labels=0)

    def adapted(key: jax.Array, prior: GradientPrior) -> dict[str, np.ndarray]:
        lesson = teach_by_gradient(key, family, tasks, prior, nobody, steps=steps)
        return curve_and_episodes(key, family, tasks, prior, lesson)

    say(f"{family.name}: adapting to {options.tasks} held-out tasks, {steps} steps each")
    taught = run.keep("adapted", lambda: adapted(key, prior))
    say(f"{family.name}: the same from a random start, to compare with")
    random_key = jax.random.fold_in(key, RANDOM)
    random = run.keep("random", lambda: adapted(random_key, blank(random_key, prior.shape)))
    alone = jax.tree.map(lambda x: x[0], tasks)
    clock = lambda: {"s": np.array(seconds_to_adapt(key, family, alone, prior, nobody, steps))}
    seconds = float(run.keep("seconds", clock)["s"])
    scale = scale_of(run, family, tasks, options.oracle, options.seed)
    returns, random_returns = taught["returns"], random["returns"]
    result: StepsResult = {
        "command": "evaluate",
        "seed": options.seed,
        "total_seconds": time.monotonic() - begin,
        "versions": versions(),
        "family": family.name,
        "varies": family.varies,
        "num_tasks": options.tasks,
        "episodes_of_a_step": policy.episodes,
        "environment_steps_of_a_step": policy.episodes * family.horizon,
        "returns": _intervals(returns),
        "shares": _intervals(scale.normalise(returns)),
        "random_returns": _intervals(random_returns),
        "random_shares": _intervals(scale.normalise(random_returns)),
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


def _intervals(values: Float[np.ndarray, "step task"]) -> list[Interval]:
    """Of means over tasks."""
    found = [mean_interval(row[:, None]) for row in values]
    return [{"mean": one.mean, "low": one.low, "high": one.high} for one in found]
