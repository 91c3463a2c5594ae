"""`metarlhf evaluate` of a prior whose simulators step outside the program: what adapting gains."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
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
from metarlhf.meta.presets import STEPPED
from metarlhf.meta.pretrain_host import pretrain
from metarlhf.meta.starts import random_start
from metarlhf.report import Interval, write_returns
from metarlhf.runs import RunDirectory
from metarlhf.statistics import mean_interval

# Folded into the seed's key: other starts play in the same tasks with other noise.
RANDOM, PRETRAINED = 0x4A7D, 0x93E7
# Simulators and steps of each between two updates of pretraining.
PRETRAINING = replace(STEPPED, num_envs=32, num_steps=64)
NAMES = {"": "meta-learned", "random_": "random start", "pretrained_": "pretrained start"}
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
    pretraining_steps: int = 0
    """Compare with one policy that PPO taught all tasks in so many environment steps, too; as many
    as meta-training had are fair, and take about as long. 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if self.pretraining_steps < 0:
            raise ValueError(
                f"pretraining_steps must be 0 or more, but is {self.pretraining_steps}"
            )


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
    curves = {"": adapted, "random_": random}
    if options.pretraining_steps:
        say(f"{family.name}: and from {options.pretraining_steps} steps of pretraining on all")
        measure = lambda: _pretrained(family, prior, options)
        curves["pretrained_"] = run.keep("pretrained", measure)["returns"]
    found = {
        f"{name}{what}": [_interval(returns) for returns in each]
        for name, curve in curves.items()
        for what, each in (("returns", curve), ("gains", curve[1:] - curve[0]))
    }
    write_returns(
        picture,
        {NAMES[name]: found[f"{name}returns"] for name in curves},
    )
    return run.finish(
        {
            "command": "evaluate",
            "family": family.name,
            "num_tasks": options.tasks,
            "episodes_of_a_step": config.episodes,
            **found,
            "picture": str(picture),
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


def _pretrained(
    family: HostFamily, prior: GradientPrior, options: EvaluateHost
) -> dict[str, np.ndarray]:
    """The same from a policy that was taught all tasks at once."""
    key = jax.random.fold_in(jax.random.key(options.seed), PRETRAINED)
    config = replace(PRETRAINING, total_steps=options.pretraining_steps)
    start = random_start(key, prior.shape)
    with closing(family.connect(config.num_envs)) as env:
        pretrained = pretrain(key, env, family, start, config)
    return _returns(key, family, pretrained, options)


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
    starts = [name for name in NAMES if f"{name}returns" in result]

    def each(what: str, step: int) -> str:
        whence = lambda name: f"from a {NAMES[name]} " if name else ""
        return "; ".join(f"{whence(x)}{told(result[f'{x}{what}'][step])}" for x in starts)

    for step in range(len(result["returns"])):
        lines.append(f"  after {step} steps: {each('returns', step)}")
    lines.append(f"  the first step gains {each('gains', 0)}")
    if all(gain["low"] <= 0 for gain in result["gains"]):
        lines.append("  nothing adapts: no number of steps gains more than chance may")
    return [*lines, f"picture: {result['picture']}"]
