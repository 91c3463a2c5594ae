"""`metarlhf meta-train`: learn a family of tasks, and publish a prior for new ones."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import jax

from metarlhf.cli.meta_train_host import check_paid_by_task, meta_train_host
from metarlhf.cli.options import (
    TaskName,
    TrainOptions,
    VaryOptions,
    family_in,
    file_name,
    open_run,
    parse_task,
    peek,
    say,
    show,
)
from metarlhf.envs import HostFamily, TaskFamily, is_host, make_family, make_host
from metarlhf.errors import UserError
from metarlhf.meta import joint, joint_gradient
from metarlhf.meta.config import InnerRule, JointGradientConfig
from metarlhf.meta.config import Method as ByGradient
from metarlhf.meta.joint_config import JointConfig
from metarlhf.meta.presets import by_gradient, preset
from metarlhf.meta.prior import Prior
from metarlhf.runs import RunDirectory, drive

Method = Literal["posterior", "promp", "maml", "fomaml", "e-maml", "reptile", "guided"]


@dataclass(frozen=True)
class MetaTrain(TrainOptions, VaryOptions):
    """Meta-train reward model and policy on a family's tasks with a simulated teacher.

    Other methods have other options: add --help to --method promp to see them.
    """

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
    method: Method = "posterior"
    """posterior: a policy that is told what is believed about a task, which answers alone adapt;
    promp, maml, fomaml, e-maml, reptile: an initialisation that gradient steps adapt; guided: the
    same, from experts of some tasks, in simulators outside the program."""
    config: JointConfig = field(default_factory=JointConfig)
    """How it learns."""


@dataclass(frozen=True)
class MetaTrainByGradient(TrainOptions, VaryOptions):
    """Meta-train an initialisation that a few gradient steps adapt to a task.

    What pays is a reward that adapts likewise to a simulated teacher's answers, or the task itself.
    """

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
    method: ByGradient = "promp"
    """How adapted policies teach the initialisation."""
    config: JointGradientConfig = field(default_factory=JointGradientConfig)
    """How it learns."""


def meta_train(
    run: RunDirectory, family: TaskFamily, seed: int, config: JointConfig | JointGradientConfig
) -> Prior:
    """Meta-train in the run's directory, or go on where it stopped."""
    method: Any = joint if isinstance(config, JointConfig) else joint_gradient
    loop = method.training(jax.random.key(seed), family, config)
    state = drive(run, f"meta-training on {family.name}", loop)
    say(f"meta-trained on {family.name} in {run.seconds:.0f} s")
    return method.prior_of(state, family, config)


def publish(learned: Prior, run: RunDirectory, seed: int) -> Path:
    """Into the run's directory, for `metarlhf adapt` and for others."""
    return learned.save(run.path / "prior", {"seed": seed})


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    scan = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    on_host = is_host(family_in(argv, MetaTrain.task))
    scan.add_argument("--method", default="promp" if on_host else MetaTrain.method)
    scan.add_argument("--config.reward", default="task" if on_host else "teacher", dest="reward")
    rule = "--config.policy.inner"
    scan.add_argument(f"{rule}-rule", f"{rule}_rule", default="sgd", dest="inner_rule")
    found = peek(scan, argv)[0]
    if on_host and found.method == "posterior":
        raise UserError(
            "simulators outside the program are meta-trained on by gradients: choose another "
            "--method, such as promp"
        )
    reward = "task" if found.reward == "task" else "teacher"  # what else it may say, tyro refuses
    inner_rule = found.inner_rule if found.inner_rule in get_args(InnerRule) else "sgd"
    by_gradients = found.method in get_args(ByGradient)
    if found.reward == "task" and found.method == "posterior":
        raise UserError(
            "--config.reward task is for methods by gradients, which learn from what a task pays: "
            "add --method promp, or another of them"
        )

    def default_of(name: str) -> MetaTrain | MetaTrainByGradient:
        if by_gradients:
            try:
                config = by_gradient(name, found.method, reward, inner_rule)
            except ValueError as error:  # what does not go with what
                raise UserError(str(error)) from error
            return MetaTrainByGradient(task=name, method=found.method, config=config)
        return MetaTrain(task=name, config=preset(name).joint)

    command = MetaTrainByGradient if by_gradients else MetaTrain
    options = parse_task(command, argv, "meta-train", default_of)
    if _method(options) != options.method:
        raise UserError(
            f"--config.policy.method {_method(options)} is another method than --method "
            f"{options.method}, whose settings these are: say --method {_method(options)} instead"
        )
    if _method(options) == "guided" and not on_host:
        raise UserError(
            "guided meta-training is for simulators outside the program, whose steps are dear: "
            "choose another --method, such as promp"
        )
    family = make_host(options.task) if is_host(options.task) else make_family(options.task)
    if isinstance(options, MetaTrainByGradient) and on_host:
        check_paid_by_task(family.name, options.config)
    with open_run(options, f"meta-train-{file_name(options.task)}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run, family)


def _method(options: MetaTrain | MetaTrainByGradient) -> str:
    if isinstance(options, MetaTrain):
        return options.method
    return options.config.policy.method  # which an option of its own may name, too


def _train(
    options: MetaTrain | MetaTrainByGradient, run: RunDirectory, family: TaskFamily | HostFamily
) -> int:
    say(f"meta-training on {family.name}: {options.config.iterations} iterations, in {run.path}")
    if isinstance(family, TaskFamily):
        learned = meta_train(run, family, options.seed, options.config)
    else:
        assert isinstance(options, MetaTrainByGradient)
        learned = meta_train_host(run, family, options.seed, options.config)
    folder = publish(learned, run, options.seed)
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "meta-train",
            "family": family.name,
            "method": _method(options),
            "iterations": options.config.iterations,
            "return": last["return"],
            "steps": last.get("steps"),
            "expert_steps": last.get("expert_steps"),
            "accuracy_hard": last.get("accuracy_hard"),
            "prior": str(folder),
        }
    )
    asks = learned.asks
    how = "with ten answers" if asks else "by what it pays"
    lines = [
        f"The prior is in {folder}. Teach a task it has never seen {how}:",
        f"  metarlhf adapt {folder} --number 3",
    ]
    return show(result, lines, options.json)
