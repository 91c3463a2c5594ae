"""`metarlhf adapt` of a prior for host simulators: one task, by its pay."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jax

from metarlhf.cli.options import PriorPath, TrainOptions, file_name, open_run, parse, say, show
from metarlhf.cli.single import check_number, task_number
from metarlhf.envs import make_host
from metarlhf.experiments.evaluation import play_and_adapt_from
from metarlhf.files import digest
from metarlhf.meta.prior import GradientPrior
from metarlhf.networks import Agent, publish_agent
from metarlhf.runs import RunDirectory, drive
from metarlhf.sampling import HostTaskSampler, num_simulators
from metarlhf.training import Loop


@dataclass(frozen=True)
class AdaptHost(TrainOptions):
    """Adapt to one held-out task by gradient steps on what it pays."""

    prior: PriorPath = Path("prior")
    """Folder that `metarlhf meta-train` published."""
    task: str | None = None
    """The family that the task is of; refused if the prior is of another."""
    number: int = 0
    """Which of the family's held-out tasks."""
    steps: int = 1
    """Gradient steps, each from as many fresh episodes as in meta-training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.number)
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, but is {self.steps}")


def main(argv: Sequence[str], prior: GradientPrior) -> int:
    """Run the command for a prior that was read already."""
    options = parse(AdaptHost, argv, "adapt", AdaptHost())
    begins_with = digest(options.prior) or ""
    name = f"adapt-{file_name(prior.shape.family)}-{begins_with[:6]}-{options.number}"
    with open_run(options, name, begins_with) as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _adapt(options, run, prior)


def _adapt(options: AdaptHost, run: RunDirectory, prior: GradientPrior) -> int:
    family, config = make_host(prior.shape.family), prior.shape.policy
    say(f"adapting to a task of {family.name} by what it pays: nobody is asked")
    alone = jax.tree.map(lambda x: x[None], task_number(family, options.number))
    clock = time.monotonic()

    def step(agent: Agent, done: int):
        key = jax.random.key(options.seed)
        loop = play_and_adapt_from(key, sampler, alone, prior, options.steps)
        before, after = (float(loop.returns[i].mean()) for i in (0, -1))
        steps = options.steps * config.episodes * family.horizon
        agent = jax.tree.map(lambda x: x[-1, 0], loop.agents)
        return agent, {"steps": steps, "return_before": before, "return": after}

    with closing(family.connect(num_simulators(1, config.episodes))) as env:
        sampler = HostTaskSampler(family, env)
        agent = drive(run, "adapting", Loop(lambda: prior.agent, step, 1))
    folder, last = publish_agent(run.path / "agent", agent, family.name), run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "adapt",
            "family": family.name,
            "number": options.number,
            "labels": 0,
            "steps": last["steps"],
            "return_before": last["return_before"],
            "return": last["return"],
            "seconds": time.monotonic() - clock,
            "agent": str(folder),
        }
    )
    line = (
        f"return {last['return_before']:.2f} -> {last['return']:.2f} by what the task pays, after "
        f"{options.steps} gradient step{'s'[: options.steps != 1]} and {last['steps']} of the "
        f"simulator; the agent is in {folder}"
    )
    how = "It acted by sampling, as it learns: metarlhf play does so with --sample."
    lines = [line, how]
    if last["return"] < last["return_before"]:
        lines.append(
            "That is worse than before: another number of steps (--steps), or a prior that was "
            "meta-trained for longer, may do better."
        )
    return show(result, lines, options.json)
