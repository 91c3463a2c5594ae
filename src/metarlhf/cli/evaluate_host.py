"""`metarlhf evaluate` of a prior whose simulators step outside the program: what adapting gains."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from metarlhf.cli.options import PriorPath, RunOptions, file_name, open_run, parse, say, show
from metarlhf.envs import HostFamily, TestedFamily, make_host
from metarlhf.files import digest
from metarlhf.meta import host
from metarlhf.meta.evaluate import held_out_tasks
from metarlhf.meta.gradient_prior import GradientPrior, blank
from metarlhf.report import Interval, write_returns
from metarlhf.runs import RunDirectory
from metarlhf.statistics import mean_interval

# Folded into the seed's key: a random start plays in the same tasks with other noise.
RANDOM = 0x4A7D
# Tasks of a benchmark that are tested at a time.
BATCH = 20


@dataclass(frozen=True)
class EvaluateHost(RunOptions):
    """Adapt to held-out tasks by gradient steps, from a prior and from a random start."""

    prior: PriorPath = Path("prior")
    """Folder that `metarlhf meta-train` published."""
    task: str | None = None
    """The family that the tasks are of; refused if the prior is of another."""
    tasks: int = 40
    """Held-out tasks to adapt to; Meta-World's protocol has 40 of each thing to do: 200 in all of
    ML10 and of ML45."""
    steps: int = 3
    """Gradient steps, each from as many fresh episodes as in meta-training; Meta-World's protocol
    has one, from ten."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, but is {getattr(self, name)}")


def main(argv: Sequence[str], prior: GradientPrior) -> int:
    """Run the command for a prior that was read already."""
    options = parse(EvaluateHost, argv, "evaluate", EvaluateHost())
    begins_with = digest(options.prior) or ""
    name = f"evaluate-{file_name(prior.shape.family)}-{begins_with[:6]}"
    with open_run(options, name, begins_with) as run:
        result = run.result or _evaluate(options, run, prior)
        return show(result, _lines(result), options.json)


def _evaluate(options: EvaluateHost, run: RunDirectory, prior: GradientPrior) -> dict[str, Any]:
    family, config = make_host(prior.shape.family), prior.shape.policy
    if isinstance(family, TestedFamily):
        return _test(options, run, family, prior)
    key, picture = jax.random.key(options.seed), run.path / "returns.svg"
    say(f"{family.name}: adapting to {options.tasks} held-out tasks, {options.steps} steps each")
    adapted = run.keep("adapted", lambda: _returns(key, family, prior, options))["returns"]
    say(f"{family.name}: the same from a random start, to compare with")
    random_key = jax.random.fold_in(key, RANDOM)
    start = blank(random_key, prior.shape)
    random = run.keep("random", lambda: _returns(random_key, family, start, options))["returns"]
    found = {
        name: [_interval(returns) for returns in each]
        for name, each in (("returns", adapted), ("random_returns", random))
    }
    write_returns(
        picture, {"meta-learned": found["returns"], "random start": found["random_returns"]}
    )
    return run.finish(
        {
            "command": "evaluate",
            "family": family.name,
            "num_tasks": options.tasks,
            "episodes_of_a_step": config.episodes,
            **found,
            "picture": str(picture),
            "gains": [_interval(returns - adapted[0]) for returns in adapted[1:]],
            "random_gains": [_interval(returns - random[0]) for returns in random[1:]],
        }
    )


def _test(
    options: EvaluateHost, run: RunDirectory, family: TestedFamily, prior: GradientPrior
) -> dict[str, Any]:
    """By success, on the tasks that the family is tested on (see `host.successes_after`)."""
    every = held_out_tasks(family, options.tasks)
    count = jax.tree.leaves(every)[0].shape[0]
    say(f"{family.name}: one adaptation to each of {count} test tasks")

    def measure() -> dict[str, np.ndarray]:
        parts = []
        # As many at a time as divide them.
        size = max(n for n in range(1, BATCH + 1) if count % n == 0)
        with closing(family.connect(size)) as env:
            for begin in range(0, count, size):
                some = jax.tree.map(lambda x: x[begin : begin + size], every)
                key = jax.random.fold_in(jax.random.key(options.seed), begin)
                parts.append(host.successes_after(key, env, family, some, prior))
        return {"successes": np.concatenate(parts, axis=1)}

    before, after = run.keep("tested", measure)["successes"]
    return run.finish(
        {
            "command": "evaluate",
            "family": family.name,
            "varies": family.varies,
            "num_tasks": count,
            "success_before": _interval(before),
            "success": _interval(after),
        }
    )


def _returns(
    key: jax.Array, family: HostFamily, prior: GradientPrior, options: EvaluateHost
) -> dict[str, np.ndarray]:
    tasks = held_out_tasks(family, options.tasks)
    sims = host.simulators(options.tasks, prior.shape.policy.episodes)
    with closing(family.connect(sims)) as env:
        return {"returns": host.returns_after(key, env, tasks, prior, options.steps)}


def _interval(returns: np.ndarray) -> Interval:
    """Of a mean over tasks."""
    found = mean_interval(returns[:, None])
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _lines(result: dict[str, Any]) -> list[str]:
    if "success" in result:
        share = lambda one: f"{one['mean']:.1%} ({one['low']:.1%} to {one['high']:.1%})"
        return [
            f"{result['family']}, {result['varies']}: success on {result['num_tasks']} test tasks "
            f"{share(result['success'])}, before adapting {share(result['success_before'])}"
        ]
    told = lambda one: f"{one['mean']:.1f} ({one['low']:.1f} to {one['high']:.1f})"
    lines = [
        f"{result['family']}: mean return on {result['num_tasks']} held-out tasks, with its 95 % "
        f"interval; each step learns from {result['episodes_of_a_step']} episodes"
    ]
    pairs = zip(result["returns"], result["random_returns"], strict=True)
    for step, (found, random) in enumerate(pairs):
        lines.append(f"  after {step} steps: {told(found)}; from a random start {told(random)}")
    gained, random = result["gains"][0], result["random_gains"][0]
    lines.append(f"  the first step gains {told(gained)}; from a random start {told(random)}")
    if all(gain["low"] <= 0 for gain in result["gains"]):
        lines.append("  nothing adapts: no number of steps gains more than chance may")
    return [*lines, f"picture: {result['picture']}"]
