"""`metarlhf meta-train`: learn a family of tasks, and publish a prior for new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from metarlhf import envs, meta, runs
from metarlhf.cli.options import FamilyOptions, TrainOptions, file_name, with_family
from metarlhf.cli.parsing import Said, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.meta.config import JointGradientConfig
from metarlhf.meta.joint_config import JointConfig
from metarlhf.meta.presets import by_gradient, preset

Method = Literal["posterior", "promp", "maml", "fomaml", "e-maml", "reptile", "guided"]


@dataclass(frozen=True)
class MetaTrainOptions(TrainOptions, FamilyOptions):
    """On what, and by which method."""

    method: Method = "posterior"
    """posterior: a policy that is told what answers say about a task; promp, maml, fomaml, e-maml
    or reptile: an initialisation for gradient steps, with options of its own; guided: such a one
    from experts of some tasks, in host simulators."""


@dataclass(frozen=True)
class MetaTrain(MetaTrainOptions):
    """Meta-train a reward model and a policy on a family's tasks with a simulated teacher, and
    publish a prior for new tasks.

    Other methods have other options: --method promp --help shows them.
    """

    FEW: ClassVar = (
        "family", "vary", "method", "iterations", "tasks", "episodes", "reward_steps",
        "inner_labels", "reward.num_tasks", "ppo.lr", "ppo.gamma", "teacher.mistake", "run_dir",
        "seed", "resume", "log",
    )  # fmt: skip
    NOT_FOR: ClassVar = "is for methods by gradients: choose one by --method, such as promp"

    config: JointConfig = field(default_factory=JointConfig)


@dataclass(frozen=True)
class MetaTrainByGradient(MetaTrainOptions):
    """Meta-train an initialisation that a few gradient steps adapt to a task, and publish it.

    What pays is a reward that adapts likewise to a simulated teacher's answers, or the task itself.
    """

    FEW: ClassVar = (
        "family", "vary", "method", "reward", "policy.iterations", "policy.meta_batch",
        "policy.episodes", "policy.inner_steps", "policy.inner_lr", "policy.inner_rule",
        "policy.adapts", "policy.estimator", "policy.lr", "policy.expert_steps", "inner_labels",
        "run_dir", "seed", "resume", "log",
    )  # fmt: skip
    NOT_FOR: ClassVar = "is for --method posterior"

    config: JointGradientConfig = field(default_factory=JointGradientConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.policy.method != self.method:
            raise ValueError(
                f"--policy.method {self.config.policy.method} is another method than --method "
                f"{self.method}, whose settings these are: say --method "
                f"{self.config.policy.method} instead"
            )


def presets(said: Said) -> MetaTrain | MetaTrainByGradient:
    """The defaults where so much is said.

    Raises:
        ValueError: the method does not go with the family, or with what pays.
    """
    family = said.get("family") or "navigation"
    on_host = envs.is_host(family)
    method = said.get("method", "promp" if on_host else "posterior")
    reward = said.get("reward", "task" if on_host else "teacher")
    if on_host and method == "posterior":
        raise ValueError(
            "simulators outside the program are meta-trained on by gradients: choose another "
            "--method, such as promp"
        )
    if on_host and reward != "task":
        raise ValueError(
            f"simulators of {family} step outside the program, and no simulated teacher judges "
            "what they do: leave --reward at task"
        )
    if reward == "task" and method == "posterior":
        raise ValueError(
            "--reward task is for methods by gradients, which learn from what a task pays: add "
            "--method promp, or another of them"
        )
    if method == "guided" and not on_host:
        raise ValueError(
            "guided meta-training is for simulators outside the program, whose steps are dear: "
            "choose another --method, such as promp"
        )
    if method == "posterior":
        return MetaTrain(family=family, config=preset(family).joint)
    config = by_gradient(family, method, reward, said.get("policy.inner_rule", "sgd"))
    return MetaTrainByGradient(family=family, method=method, config=config)


def meta_train(
    run: runs.RunDirectory,
    family: envs.TaskFamily,
    seed: int,
    config: JointConfig | JointGradientConfig,
) -> meta.Prior:
    """Meta-train in the run's directory, or go on where it stopped."""
    import jax

    method: Any = meta.joint if isinstance(config, JointConfig) else meta.joint_gradient
    loop = method.training(jax.random.key(seed), family, config)
    state = runs.drive(run, f"meta-training on {family.name}", loop)
    say(f"meta-trained on {family.name} in {run.seconds:.0f} s")
    return method.prior_of(state, family, config)


def publish(learned: meta.Prior, run: runs.RunDirectory, seed: int) -> Path:
    """Into the run's directory, for `metarlhf adapt` and for others."""
    return learned.save(run.path / "prior", {"seed": seed})


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = with_family(parse((MetaTrain, MetaTrainByGradient), argv, "meta-train", presets))
    name = options.family or ""
    family = envs.make_host(name) if envs.is_host(name) else envs.make_family(name)
    with open_run(options, f"meta-train-{file_name(name)}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run, family)


def _train(
    options: MetaTrain | MetaTrainByGradient,
    run: runs.RunDirectory,
    family: envs.TaskFamily | envs.HostFamily,
) -> int:
    say(f"meta-training on {family.name}: {options.config.iterations} iterations, in {run.path}")
    if isinstance(family, envs.TaskFamily):
        learned = meta_train(run, family, options.seed, options.config)
    else:
        assert isinstance(options, MetaTrainByGradient)
        from metarlhf.cli.meta_train_host import meta_train_host

        learned = meta_train_host(run, family, options.seed, options.config)
    folder = publish(learned, run, options.seed)
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "meta-train",
            "family": family.name,
            "method": options.method,
            "iterations": options.config.iterations,
            "return": last["return"],
            "steps": last.get("steps"),
            "expert_steps": last.get("expert_steps"),
            "accuracy_hard": last.get("accuracy_hard"),
            "prior": str(folder),
        }
    )
    how = "with ten answers" if learned.asks else "by what it pays"
    lines = [
        f"The prior is in {folder}. Teach a task it has never seen {how}:",
        f"  metarlhf adapt {folder} --task 3",
    ]
    return show(result, lines, options.json)
