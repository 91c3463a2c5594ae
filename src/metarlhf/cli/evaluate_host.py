"""`metarlhf evaluate` of a prior for host simulators: what adapting gains."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import jax
import numpy as np

from metarlhf.cli.meta_train_host import train_alone_shown
from metarlhf.cli.runs import say, show
from metarlhf.envs import HostFamily, TestedFamily, make_host
from metarlhf.errors import UserError
from metarlhf.experiments.evaluation import returns_after, successes_after
from metarlhf.experiments.references import STARTS, pretrained_start_on_host, random_start, tuned
from metarlhf.meta.prior import GradientPrior, GradientShape
from metarlhf.meta.tasks import count_of, held_out_tasks
from metarlhf.ppo.presets import alone_on_host
from metarlhf.report import write_returns
from metarlhf.report.steps import (
    START_NAMES,
    behind,
    curves,
    interval,
    intervals,
    nothing_adapts,
    stacked,
)
from metarlhf.report.wording import number
from metarlhf.runs import RunDirectory
from metarlhf.sampling import HostTaskSampler, num_simulators
from metarlhf.statistics import mean_interval
from metarlhf.types import Task

# Tasks that are tested at a time.
TESTED_AT_ONCE = 20
VALIDATION_TASKS = 8
# Folded into a seed's key for what PPO learns a task alone with.
ORACLE = 0x0AC1


def run_in(run: RunDirectory, options: Any, priors: Sequence[GradientPrior]) -> int:
    """Measure priors that differ by the seed of their meta-training."""
    result = run.result or _evaluate(options, run, priors)
    return show(result, _lines(result), options.json)


def _evaluate(options: Any, run: RunDirectory, priors: Sequence[GradientPrior]) -> dict[str, Any]:
    family, shape = make_host(priors[0].shape.family), priors[0].shape
    if isinstance(family, TestedFamily):
        _check_protocol(options, family)
        return measured_by_protocol(run, family, priors[0], options.tasks, options.seed)
    tasks, key = held_out_tasks(family, options.tasks), jax.random.key(options.seed)
    picture = run.path / "returns.svg"

    def returns(key: jax.Array, prior: GradientPrior) -> dict[str, np.ndarray]:
        return {"returns": _returns(key, family, tasks, prior, options.steps)}

    say(f"{family.name}: adapting to {options.tasks} held-out tasks, {options.steps} steps each")
    each = [
        run.keep(f"adapted-{i}", partial(returns, jax.random.fold_in(key, i), prior))
        for i, prior in enumerate(priors)
    ]
    adapted, starts, untrained = stacked(each, "returns"), {}, np.zeros(())
    for name in ("random", *["pretrained"] * bool(options.pretraining_steps)):
        say(f"{family.name}: the same from {START_NAMES[name]}, to compare with")
        found = [_start(options, run, name, i, shape, returns) for i in range(len(priors))]
        others = stacked(found, "returns")
        untrained = others.mean(0)[0] if name == "random" else untrained
        starts[name] = {
            "returns": intervals(others),
            "gains": intervals(others[:, 1:] - others[:, :1]),
            "behind": intervals(adapted - others),
            "step_sizes": stacked(found, "step_size").tolist(),
        }
    result = {
        "command": "evaluate",
        "family": family.name,
        "num_tasks": options.tasks,
        "num_priors": len(priors),
        "episodes_of_a_step": shape.policy.episodes,
        "returns": intervals(adapted),
        "gains": intervals(adapted[:, 1:] - adapted[:, :1]),
        "starts": starts,
        "picture": str(picture),
    }
    if options.oracle_steps:
        result["oracle"] = _oracle(options, run, family, tasks, adapted.mean(0), untrained)
    levels = {}
    if options.oracle_steps:
        count = options.oracle_tasks
        some = "" if count == options.tasks else f" on {count} of them"
        levels = {f"PPO{some}": result["oracle"]["return"]}
    write_returns(picture, curves(result), levels)
    return run.finish(result | {"seconds": run.seconds})


def _oracle(
    options: Any,
    run: RunDirectory,
    family: HostFamily,
    tasks: Task,
    adapted: np.ndarray,
    random: np.ndarray,
) -> dict[str, Any]:
    """PPO on some of the tasks, each alone; and of what it gains there on a `random` policy [task],
    the share that `adapted` [step, task] have.
    """
    count = options.oracle_tasks
    say(f"{family.name}: PPO alone on {count} task{'s'[: count != 1]}")
    key = jax.random.fold_in(jax.random.key(options.seed), ORACLE)
    config = alone_on_host(family.horizon, options.oracle_steps)

    def make(number: int) -> dict[str, np.ndarray]:
        task = jax.tree.map(lambda x: x[number], tasks)
        own = jax.random.fold_in(key, number)
        paid = train_alone_shown(own, family, task, config, f"PPO on task {number}")[1]
        return {"return": np.array(paid)}

    each = [run.keep(f"oracle-{i}", partial(make, i)) for i in range(count)]
    found = np.array([one["return"] for one in each])
    untrained = float(random[:count].mean())
    reached = adapted[:, :count].mean(1)
    gained = float(found.mean()) - untrained
    return {
        "steps": config.steps,
        "untrained": untrained,
        "returns": found.tolist(),
        "return": float(found.mean()),
        "adapted": reached.tolist(),
        "shares": ((reached - untrained) / gained).tolist() if gained > 0 else None,
    }


def _start(
    options: Any,
    run: RunDirectory,
    name: str,
    number: int,
    shape: GradientShape,
    returns: Callable[[jax.Array, GradientPrior], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Returns from another start, by the step size that does best on validation tasks."""
    key = jax.random.fold_in(jax.random.key(options.seed), STARTS[name])
    begin_key, judge_key, play_key = jax.random.split(jax.random.fold_in(key, number), 3)
    family = make_host(shape.family)
    tasks = held_out_tasks(family, VALIDATION_TASKS, "validation")

    def judged(start: GradientPrior) -> float:
        return float(_returns(judge_key, family, tasks, start, options.steps)[-1].mean())

    def make() -> dict[str, np.ndarray]:
        start = random_start(begin_key, shape)
        if name == "pretrained":
            start = _pretrained(options, run, number, begin_key, start)
        found = tuned(start, judged)
        return returns(play_key, found.start) | {"step_size": np.array(found.step_size)}

    return run.keep(f"{name}-{number}", make)


def _pretrained(
    options: Any, run: RunDirectory, number: int, key: jax.Array, like: GradientPrior
) -> GradientPrior:
    """A start that was taught all tasks at once: a stage of its own, as it takes long."""
    family, shape = make_host(like.shape.family), like.shape
    config = alone_on_host(family.horizon, options.pretraining_steps)

    def make() -> GradientPrior:
        with closing(family.connect(config.num_envs)) as env:
            return pretrained_start_on_host(key, shape, env, family, config)

    say(f"{family.name}: pretraining, {config.total_steps} steps")
    return run.keep_tree(f"pretraining-{number}", like, make)


def _check_protocol(options: Any, family: TestedFamily) -> None:
    """Refuse what its own protocol has no place for.

    Raises:
        UserError: it is asked for.
    """
    usual = type(options)(steps=3)
    for name in ("also", "steps", "oracle_steps", "oracle_tasks", "pretraining_steps"):
        if getattr(options, name) != getattr(usual, name):
            raise UserError(
                f"--{name.replace('_', '-')}: {family.name} is measured by a protocol of its own, "
                "of one prior and one step. Leave it out"
            )


def _returns(
    key: jax.Array, family: HostFamily, tasks: Task, prior: GradientPrior, steps: int
) -> np.ndarray:
    simulators = num_simulators(count_of(tasks), prior.shape.policy.episodes)
    with closing(family.connect(simulators)) as env:
        return returns_after(key, HostTaskSampler(family, env), tasks, prior, steps)


def _oracle_words(oracle: dict[str, Any] | None) -> list[str]:
    if oracle is None:
        return []
    count = len(oracle["returns"])
    tasks = f"each of the first {count} tasks" if count > 1 else "the first task"
    told = (
        f"  PPO with the true reward, {number(oracle['steps'], 12)} steps on {tasks}: "
        f"return {oracle['return']:.1f}; there the prior's last step is at "
        f"{oracle['adapted'][-1]:.1f}"
    )
    if oracle["shares"] is None:
        return [f"{told}. PPO gains nothing on a random policy: give it more (--oracle-steps)"]
    return [
        f"{told}, {oracle['shares'][-1]:.0%} of what PPO gains on a random policy "
        f"({oracle['untrained']:.1f})"
    ]


def _of_priors(count: int) -> str:
    return f" from each of {count} priors" if count > 1 else ""


def _lines(result: dict[str, Any]) -> list[str]:
    if "success" in result:
        return [protocol_words(result)]
    told = lambda one: f"{one['mean']:.1f} ({one['low']:.1f} to {one['high']:.1f})"
    lines = [
        f"{result['family']}: mean return, acting by sampling, on {result['num_tasks']} held-out "
        f"tasks"
        f"{_of_priors(result['num_priors'])}, with its 95 % interval; each step learns from "
        f"{result['episodes_of_a_step']} episodes"
    ]
    curves: list[tuple[str, Any]] = [("", result)]
    curves += [(f"from {START_NAMES[name]} ", one) for name, one in result["starts"].items()]

    def each(what: str, step: int) -> str:
        return "; ".join(f"{name}{told(curve[what][step])}" for name, curve in curves)

    for step in range(len(result["returns"])):
        when = f"after {step} step{'s'[: step != 1]}" if step else "before any step"
        lines.append(f"  {when}: {each('returns', step)}")
    lines.append(f"  the first step gains {each('gains', 0)}")
    if nothing_adapts(result):
        lines.append("  nothing adapts: no number of steps gains more than chance may")
    lines += [f"  {note}" for note in behind(result)]
    lines += _oracle_words(result.get("oracle"))
    return [*lines, f"picture: {result['picture']}"]


def measured_by_protocol(
    run: RunDirectory, family: TestedFamily, prior: GradientPrior, most: int, seed: int
) -> dict[str, Any]:
    """By success, on the tasks that the family is tested on (see `evaluation.successes_after`)."""
    every = held_out_tasks(family, most)
    count = jax.tree.leaves(every)[0].shape[0]
    say(f"{family.name}: one adaptation to each of {count} test tasks")

    def measure() -> dict[str, np.ndarray]:
        parts = []
        # As many at a time as divide them.
        size = max(n for n in range(1, TESTED_AT_ONCE + 1) if count % n == 0)
        with closing(family.connect(size)) as env:
            for begin in range(0, count, size):
                some = jax.tree.map(lambda x: x[begin : begin + size], every)
                key = jax.random.fold_in(jax.random.key(seed), begin)
                parts.append(successes_after(key, env, family, some, prior))
        return {"successes": np.concatenate(parts, axis=1)}

    before, after = run.keep("tested", measure)["successes"]
    return run.finish(
        {
            "command": "evaluate",
            "family": family.name,
            "varies": family.varies,
            "num_tasks": count,
            "success_before": interval(mean_interval(before[:, None])),
            "success": interval(mean_interval(after[:, None])),
        }
    )


def protocol_words(result: dict[str, Any]) -> str:
    """What came of it, for a person."""
    share = lambda one: f"{one['mean']:.1%} ({one['low']:.1%} to {one['high']:.1%})"
    return (
        f"{result['family']}, {result['varies']}: success on {result['num_tasks']} test tasks "
        f"{share(result['success'])}, before adapting {share(result['success_before'])}"
    )
