"""`metarlhf evaluate` of a prior whose simulators step outside the program: what adapting gains."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from metarlhf.cli.more_priors import Also, digests, intervals, stacked, with_others
from metarlhf.cli.options import PriorPath, RunOptions, file_name, open_run, parse, say, show
from metarlhf.envs import HostFamily, TestedFamily, make_host
from metarlhf.meta import host
from metarlhf.meta.evaluate import held_out_tasks
from metarlhf.meta.gradient_prior import GradientPrior, GradientShape, blank
from metarlhf.meta.presets import STEPPED
from metarlhf.meta.pretrain_host import pretrain
from metarlhf.meta.starts import random_start
from metarlhf.report import Interval, write_returns
from metarlhf.runs import RunDirectory, UserError
from metarlhf.statistics import mean_interval

# Folded into the seed's key: other starts play in the same tasks with other noise.
STARTS = {"random_": 0x4A7D, "pretrained_": 0x93E7}
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
    also: Also = ()
    """A prior more of the same kind, meta-trained with another --seed, as often as there are such:
    intervals are then over seeds and tasks."""
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
    priors = with_others(prior, options.also)
    begins_with = digests(options.prior, options.also)
    name = f"evaluate-{file_name(prior.shape.family)}-{begins_with[:6]}"
    with open_run(options, name, begins_with) as run:
        result = run.result or _evaluate(options, run, priors)
        return show(result, _lines(result), options.json)


def _evaluate(
    options: EvaluateHost, run: RunDirectory, priors: Sequence[GradientPrior]
) -> dict[str, Any]:
    family, shape = make_host(priors[0].shape.family), priors[0].shape
    if isinstance(family, TestedFamily):
        if options.also:
            raise UserError(f"--also: {family.name} has a protocol of its own, for one prior")
        return _test(options, run, family, priors[0])
    picture = run.path / "returns.svg"

    def measured(name: str, begin: Callable[[jax.Array, int], GradientPrior]) -> np.ndarray:
        """Returns of each prior, or of as many other starts."""

        def make(i: int) -> dict[str, np.ndarray]:
            key = jax.random.key(options.seed)
            key = jax.random.fold_in(key, STARTS[name]) if name else key
            key = jax.random.fold_in(key, i) if i else key
            return _returns(key, family, begin(key, i), options)

        each = range(len(priors))
        return stacked([run.keep(f"{name}adapted-{i}", partial(make, i)) for i in each], "returns")

    say(f"{family.name}: adapting to {options.tasks} held-out tasks, {options.steps} steps each")
    curves = {"": measured("", lambda key, i: priors[i])}
    say(f"{family.name}: the same from a random start, to compare with")
    curves["random_"] = measured("random_", lambda key, i: blank(key, shape))
    if options.pretraining_steps:
        say(f"{family.name}: and from {options.pretraining_steps} steps of pretraining on all")
        begin = lambda key, i: _pretrained(key, family, shape, options.pretraining_steps)
        curves["pretrained_"] = measured("pretrained_", begin)
    found = {
        f"{name}{what}": intervals(each)
        for name, curve in curves.items()
        for what, each in (("returns", curve), ("gains", curve[:, 1:] - curve[:, :1]))
    }
    write_returns(picture, {NAMES[name]: found[f"{name}returns"] for name in curves})
    return run.finish(
        {
            "command": "evaluate",
            "family": family.name,
            "num_tasks": options.tasks,
            "num_priors": len(priors),
            "episodes_of_a_step": shape.policy.episodes,
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
    key: jax.Array, family: HostFamily, shape: GradientShape, steps: int
) -> GradientPrior:
    """A start that was taught all tasks at once."""
    config, start = replace(PRETRAINING, total_steps=steps), random_start(key, shape)
    with closing(family.connect(config.num_envs)) as env:
        return pretrain(key, env, family, start, config)


def _interval(returns: np.ndarray) -> Interval:
    """Of a mean over tasks."""
    found = mean_interval(returns[:, None])
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _of_priors(count: int) -> str:
    return f" from each of {count} priors" if count > 1 else ""


def _lines(result: dict[str, Any]) -> list[str]:
    if "success" in result:
        share = lambda one: f"{one['mean']:.1%} ({one['low']:.1%} to {one['high']:.1%})"
        return [
            f"{result['family']}, {result['varies']}: success on {result['num_tasks']} test tasks "
            f"{share(result['success'])}, before adapting {share(result['success_before'])}"
        ]
    told = lambda one: f"{one['mean']:.1f} ({one['low']:.1f} to {one['high']:.1f})"
    lines = [
        f"{result['family']}: mean return on {result['num_tasks']} held-out tasks"
        f"{_of_priors(result['num_priors'])}, with its 95 % interval; each step learns from "
        f"{result['episodes_of_a_step']} episodes"
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
