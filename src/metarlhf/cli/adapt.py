"""`metarlhf adapt`: teach one new task from a prior, with a handful of answers."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from metarlhf import files, rlhf
from metarlhf.cli import adapt_host
from metarlhf.cli.held import (
    check_marks,
    cost_words,
    costing,
    forbidden_steps,
    held_words,
    holding,
    parted_words,
    parting,
    standing,
)
from metarlhf.cli.options import (
    PriorPath,
    TrainOptions,
    asks_for_help,
    file_name,
    open_run,
    parse,
    peek,
    say,
    show,
)
from metarlhf.cli.single import (
    check_number,
    task_number,
    true_return,
)
from metarlhf.errors import UserError
from metarlhf.experiments.evaluation import adapt_from_prior
from metarlhf.feedback import empty
from metarlhf.meta.presets import Preset, preset
from metarlhf.meta.prior import GradientPrior, PosteriorPrior, Prior, load_prior
from metarlhf.networks import Agent, publish_agent
from metarlhf.reward import Learned, publish_reward
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs import RunDirectory, drive
from metarlhf.sampling import CompiledSampler
from metarlhf.training import Loop
from metarlhf.types import Task

Kind = Literal["ten", "twenty", "ratings"]


@dataclass(frozen=True)
class Adapt(TrainOptions):
    """Teach one held-out task from a prior; a simulated teacher answers."""

    prior: PriorPath = Path("prior")
    """Folder that `metarlhf meta-train` published."""
    task: str | None = None
    """The family that the task is of; refused if the prior is of another."""
    number: int = 0
    """Which of the family's held-out tasks."""
    preset: Kind = "ten"
    """Ten comparisons, twenty, or ten ratings: what the options below start from."""
    steps: int | None = None
    """Gradient steps, for a prior that adapts by them; as many as in meta-training unless named."""
    config: RLHFConfig = field(default_factory=RLHFConfig)
    """How the agent asks and learns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.number)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be 1 or more, but is {self.steps}")


def names_prior(argv: Sequence[str]) -> bool:
    """Whether a word is the folder of a prior: options depend on what it is."""
    return any((Path(word) / files.DESCRIPTION).exists() for word in argv)


def named_prior(argv: Sequence[str], command: str) -> tuple[Prior, Preset, str]:
    """The prior that a command line names, its family's presets, and which of them is asked for.

    Raises:
        UserError: none is named.
        PublishedFileError, WrongFamilyError: see `metarlhf.meta.prior.load_prior`.
    """
    scan = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    scan.add_argument("--task")
    scan.add_argument("--preset", default="ten")
    scan.add_argument("--run-dir", "--run_dir")
    scan.add_argument("--also", action="append")
    found, rest = peek(scan, argv)
    folders = [Path(word) for word in rest if not word.startswith("-")]
    if not folders:
        raise UserError(
            f"which prior? metarlhf {command} FOLDER, where FOLDER is what `metarlhf meta-train` "
            "published"
        )
    # Options come before it or after it, each with a value that is no prior.
    folder = next((path for path in folders if (path / files.DESCRIPTION).exists()), folders[0])
    if (folder / "prior" / files.DESCRIPTION).exists():
        raise UserError(f"{folder} is a run: its prior is in {folder / 'prior'}")
    if (folder / "config.json").exists() and not (folder / files.DESCRIPTION).exists():
        raise UserError(
            f"{folder} is a run without a prior: those of metarlhf meta-train and demo have one "
            "when they are finished"
        )
    if not folder.exists():
        raise UserError(
            f"there is no folder {folder}: metarlhf meta-train publishes a prior, and says where"
        )
    if folder.is_file():
        raise UserError(
            f"{folder} is a file: name the folder that `metarlhf meta-train` published it in"
        )
    prior = load_prior(folder, found.task)
    leave_out(argv, prior, ("--preset",))
    if prior.by_gradient and found.preset == "ratings":
        raise UserError(
            f"the prior in {folder} was meta-trained on comparisons, not on ratings: choose "
            "--preset ten or twenty"
        )
    return prior, preset(prior.shape.family), found.preset


def leave_out(argv: Sequence[str], prior: Prior, options: Sequence[str]) -> None:
    """Refuse options about answers where a prior learns from what tasks pay.

    `options` are such, or what they begin with.

    Raises:
        UserError: one is named.
    """
    if prior.asks:
        return
    for word in argv:
        name = word.partition("=")[0]
        if name.replace("_", "-").startswith(tuple(options)):
            raise UserError(
                f"{name} is about answers, and this prior learns from what a task pays: nobody is "
                "asked. Leave it out"
            )


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    if asks_for_help(argv) and not names_prior(argv):
        parse(Adapt, argv, "adapt", Adapt(config=preset("navigation").ten))
    prior, presets, kind = named_prior(argv, "adapt")
    if isinstance(prior, GradientPrior) and prior.on_host:
        return adapt_host.main(argv, prior)
    leave_out(argv, prior, ("--config.",))
    config = getattr(presets, kind, presets.ten)
    options = parse(Adapt, argv, "adapt", Adapt(config=config))
    if options.steps and not prior.by_gradient:
        raise UserError("--steps is for priors that adapt by gradient steps; this one needs none")
    if prior.by_gradient and options.config.feedback == "ratings":
        raise UserError(
            f"the prior in {options.prior} was meta-trained on comparisons, not on ratings: leave "
            "--config.feedback as it is"
        )
    if prior.by_gradient and options.config.held_by:
        raise UserError(
            f"--config.{options.config.held_by} is about practice by PPO; the prior in "
            f"{options.prior} adapts by gradient steps: leave it out"
        )
    if not prior.by_gradient:
        check_marks(options.config, prior.family)
    digest = files.digest(options.prior) or ""
    name = f"adapt-{file_name(prior.family.name)}-{digest[:6]}-{options.number}"
    name += "" if options.preset == "ten" else f"-{options.preset}"
    with open_run(options, name, digest) as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _adapt(options, run, prior)


def _adapt(options: Adapt, run: RunDirectory, prior: Prior) -> int:
    config, family = options.config, prior.family
    task = task_number(family, options.number)
    key = jax.random.key(options.seed)
    by_task = not prior.asks
    if by_task:
        say(f"adapting to a task of {family.name} by what it pays: nobody is asked")
    else:
        say(f"adapting to a task of {family.name} with {config.labels} {config.feedback}")
    before = true_return(key, family, task, prior.untaught)
    costs = forbidden_steps(key, family, task, prior.untaught)
    clock = time.monotonic()
    if isinstance(prior, GradientPrior):
        agent, learned = _by_gradient(key, task, prior, options, run)
    else:
        assert isinstance(prior, PosteriorPrior)
        agent, learned = _by_answers(key, task, prior, options, run)
    seconds = time.monotonic() - clock
    if learned is not None:
        publish_reward(run.path / "reward", learned)
    folder = publish_agent(run.path / "agent", agent, family.name)
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "adapt",
            "family": family.name,
            "number": options.number,
            "feedback": config.feedback,
            "labels": last["labels"],
            "steps": last["steps"],
            "return_before": before,
            "return": last["return"],
            "seconds": seconds,
            "agent": str(folder),
            **parting(run.metrics.rows),
            **costing(costs, last),
            **holding(run.metrics.rows),
        }
    )
    how = "by what the task pays" if by_task else f"with {last['labels']} {config.feedback}"
    line = (
        f"return {before:.2f} -> {last['return']:.2f} {how} in "
        f"{seconds:.1f} s, compilation included; the agent is in {folder}"
    )
    lines = [line]
    if last["return"] < before:
        lines.append(
            "That is worse than before: what was learned of this task leads astray. Another prior, "
            "meta-trained for longer, or more answers may do better."
        )
    lines += [*parted_words(result), *cost_words(result), *held_words(result, config)]
    return show(result, lines, options.json)


_start = eqx.filter_jit(rlhf.start)


def _by_answers(
    key: PRNGKeyArray, task: Task, prior: PosteriorPrior, options: Adapt, run: RunDirectory
) -> tuple[Agent, Learned]:
    """Round after round, the policy being told what is believed after each; then practice."""
    family, config = prior.family, options.config
    sampler = CompiledSampler(family, task, config.ppo.num_envs)
    state = drive(
        run,
        "adapting",
        rlhf.training(
            lambda: _start(key, sampler, prior.agent, prior.belief, config, prior.library),
            sampler,
            config,
            lambda state: standing(state, sampler, config),
        ),
    )
    return state.ppo.agent, rlhf.learned(prior.belief, state, family)


def _by_gradient(
    key: PRNGKeyArray, task: Task, prior: GradientPrior, options: Adapt, run: RunDirectory
) -> tuple[Agent, Learned | None]:
    """All answers, then a few gradient steps of the policy: one compiled program."""
    family, clips = prior.family, prior.library.clips if prior.library else None
    nothing = None if clips is None else empty(clips[0], options.config.labels, 0)

    def step(state, done):
        alone = jax.tree.map(lambda x: x[None], task)
        result = adapt_from_prior(key, family, alone, prior, options.config, steps=options.steps)
        labels, steps, returns = (float(x[-1].mean()) for x in result.curve)
        state = jax.tree.map(lambda x: x[0], (result.agents, result.feedback))
        return state, {"labels": int(labels), "steps": int(steps), "return": returns}

    agent, feedback = drive(run, "adapting", Loop(lambda: (prior.agent, nothing), step, 1))
    if prior.belief is None or clips is None or feedback is None:
        return agent, None
    # What is believed follows from the answers alone.
    after = prior.belief.adapt(key, feedback)
    return agent, Learned(prior.belief, after, feedback, clips, family)
