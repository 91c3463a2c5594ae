"""`metarlhf meta-train`: learn a family of tasks, and publish a prior for new ones."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax

from metarlhf.cli.options import RunOptions, TaskName, family_in, open_run, parse, say, show
from metarlhf.envs import TaskFamily
from metarlhf.envs.registry import make
from metarlhf.meta import joint
from metarlhf.meta.joint import JointConfig
from metarlhf.meta.presets import preset
from metarlhf.meta.prior import Prior, publish
from metarlhf.runs import RunDirectory, drive


@dataclass(frozen=True)
class MetaTrain(RunOptions):
    """Meta-train reward model and policy on a family's tasks with a simulated teacher."""

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
    config: JointConfig = field(default_factory=JointConfig)
    """How it learns."""


def meta_train(run: RunDirectory, family: TaskFamily, seed: int, config: JointConfig) -> Prior:
    """Meta-train in the run's directory, or go on where it stopped."""
    learning = family.without_termination()
    begin = time.monotonic()

    def step(state, done):
        state, metrics = joint.iterate(state, learning, config)
        return state, {name: float(value) for name, value in metrics.items()}

    state = drive(
        run,
        f"meta-training on {family.name}",
        lambda: joint.init(jax.random.key(seed), learning, config),
        step,
        config.iterations,
    )
    say(f"meta-trained on {family.name} in {time.monotonic() - begin:.0f} s")
    return joint.prior_of(state, family, config)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    name = family_in(argv, MetaTrain.task)
    options = parse(MetaTrain, argv, "meta-train", MetaTrain(task=name, config=preset(name).joint))
    with open_run(options, f"meta-train-{options.task.replace('/', '-')}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run)


def _train(options: MetaTrain, run: RunDirectory) -> int:
    family = make(options.task)
    say(f"meta-training on {family.name}: {options.config.iterations} iterations, in {run.path}")
    prior = meta_train(run, family, options.seed, options.config)
    folder = publish(prior, run.path / "prior", {"seed": options.seed})
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "meta-train",
            "family": family.name,
            "iterations": options.config.iterations,
            "return": last["return"],
            "accuracy_hard": last["accuracy_hard"],
            "prior": str(folder),
        }
    )
    lines = [
        f"The prior is in {folder}. Teach a task it has never seen with ten answers:",
        f"  metarlhf adapt {folder} --number 3",
    ]
    return show(result, lines, options.json)
