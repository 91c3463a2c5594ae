"""`metarlhf adapt`: teach one new task from a prior, with a handful of answers."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from metarlhf import files, rlhf
from metarlhf.cli.environment import task_of
from metarlhf.cli.options import Kind, PriorOptions, TrainOptions, check_task, file_name
from metarlhf.cli.outcome import (
    check_marks,
    cost_words,
    costing,
    held_words,
    holding,
    parted_words,
    parting,
)
from metarlhf.cli.parsing import Said, compute_in_the_foreground, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.envs import make_host
from metarlhf.errors import UserError
from metarlhf.experiments.evaluation import adapt_from_prior, play_and_adapt_from
from metarlhf.experiments.standing import forbidden_steps, standing, true_return
from metarlhf.feedback import empty
from metarlhf.meta.presets import preset
from metarlhf.meta.prior import GradientPrior, PosteriorPrior, Prior, load_prior
from metarlhf.networks import Agent, publish_agent
from metarlhf.reward import Learned, publish_reward
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs import RunDirectory, drive
from metarlhf.sampling import CompiledSampler, HostTaskSampler, num_simulators
from metarlhf.training import Loop
from metarlhf.types import Task


@dataclass(frozen=True)
class AdaptOptions(TrainOptions, PriorOptions):
    """To which task."""

    task: int = 0
    """Index of the held-out task of the prior's family."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task)


@dataclass(frozen=True)
class Adapt(AdaptOptions):
    """Teach one held-out task from a prior; a simulated teacher answers.

    Defaults are those of the prior's family: name the prior to see them.
    """

    FEW: ClassVar = (
        "prior", "task", "preset", "labels", "feedback", "rounds", "final_updates",
        "teacher.mistake", "leash", "watch.every", "never.clips", "run_dir", "seed", "resume",
        "log",
    )  # fmt: skip
    NOT_FOR: ClassVar = "is for priors that adapt by gradient steps; this one needs none"

    preset: Kind = "ten"
    """Ten comparisons, twenty, or ten ratings; it sets the defaults of other options."""
    config: RLHFConfig = field(default_factory=RLHFConfig)


@dataclass(frozen=True)
class AdaptByGradient(Adapt):
    """Teach one held-out task from an initialisation: a simulated teacher answers, and a few
    gradient steps follow.
    """

    FEW: ClassVar = (*Adapt.FEW[:3], "steps", *Adapt.FEW[3:])

    steps: int | None = None
    """Gradient steps; as many as in meta-training unless given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_steps(self.steps)
        if self.config.feedback == "ratings":
            raise ValueError(
                f"the prior in {self.prior} was meta-trained on comparisons, not on ratings: "
                "leave --feedback as it is, and choose --preset ten or twenty"
            )
        if self.config.held_by:
            raise ValueError(
                f"{self.config.held_by} is about practice by PPO; the prior in {self.prior} adapts "
                "by gradient steps: leave it out"
            )


@dataclass(frozen=True)
class AdaptByReward(AdaptOptions):
    """Adapt an initialisation to one held-out task by gradient steps on what the task pays."""

    NOT_FOR: ClassVar = (
        "is about answers, and this prior learns from what a task pays: nobody is asked"
    )

    steps: int | None = None
    """Gradient steps, each from as many fresh episodes as in meta-training; as many as there unless
    given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_steps(self.steps)


def _check_steps(steps: int | None) -> None:
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be 1 or more, but is {steps}")


def named_prior(folder: Path | None, family: str | None, command: str) -> Prior:
    """The prior in a folder.

    Args:
        folder: as an option says; None where none does.
        family: that the prior has to be of; None: any.
        command: of the error that asks for a folder.

    Raises:
        UserError: there is none.
        PublishedFileError, WrongFamilyError: see `metarlhf.meta.load_prior`.
    """
    if folder is None:
        raise UserError(
            f"which prior? metarlhf {command} FOLDER, where FOLDER is what `metarlhf meta-train` "
            "published"
        )
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
    compute_in_the_foreground()
    return load_prior(folder, family)


def presets(said: Said, prior: Prior | None) -> Adapt | AdaptByReward:
    """The defaults for a prior, where so much is said; for none, those of navigation's."""
    folder, kind = said.get("prior"), said.get("preset", "ten")
    if prior is None:
        return Adapt(config=preset("navigation").ten)
    if not prior.asks:
        return AdaptByReward(prior=folder, steps=1 if prior.on_host else None)
    tuned = getattr(preset(prior.shape.family), kind)
    command = AdaptByGradient if prior.by_gradient else Adapt
    return command(prior=folder, preset=kind, config=tuned)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    found: list[Prior] = []

    def presets_of(said: Said) -> Adapt | AdaptByReward:
        if said.get("prior") is not None or not said.asks_for_help:
            found.append(named_prior(said.get("prior"), said.get("family"), "adapt"))
        return presets(said, found[0] if found else None)

    options = parse((AdaptByGradient, AdaptByReward), argv, "adapt", presets_of)
    prior = found[0]
    if isinstance(options, Adapt) and not isinstance(options, AdaptByGradient):
        check_marks(options.config, prior.family)
    assert options.prior is not None
    digest = files.digest(options.prior) or ""
    name = f"adapt-{file_name(prior.shape.family)}-{digest[:6]}-{options.task}"
    if isinstance(options, Adapt) and options.preset != "ten":
        name += f"-{options.preset}"
    with open_run(options, name, digest) as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        if isinstance(options, AdaptByReward) and prior.on_host:
            assert isinstance(prior, GradientPrior)
            return _adapt_on_host(options, run, prior)
        return _adapt(options, run, prior)


def _adapt(options: Adapt | AdaptByReward, run: RunDirectory, prior: Prior) -> int:
    family = prior.family
    config = options.config if isinstance(options, Adapt) else preset(prior.shape.family).ten
    steps = options.steps if isinstance(options, AdaptByGradient | AdaptByReward) else None
    task = task_of(family, options.task)
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
        agent, learned = _by_gradient(key, task, prior, config, steps, run)
    else:
        assert isinstance(prior, PosteriorPrior)
        agent, learned = _by_answers(key, task, prior, config, run)
    seconds = time.monotonic() - clock
    if learned is not None:
        publish_reward(run.path / "reward", learned)
    folder = publish_agent(run.path / "agent", agent, family.name)
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "adapt",
            "family": family.name,
            "task": options.task,
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
    key: PRNGKeyArray, task: Task, prior: PosteriorPrior, config: RLHFConfig, run: RunDirectory
) -> tuple[Agent, Learned]:
    """Round after round, the policy being told what is believed after each; then practice."""
    family = prior.family
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
    return state.ppo.agent, rlhf.reward_record(prior.belief, state, family)


def _by_gradient(
    key: PRNGKeyArray,
    task: Task,
    prior: GradientPrior,
    config: RLHFConfig,
    steps: int | None,
    run: RunDirectory,
) -> tuple[Agent, Learned | None]:
    """All answers, then a few gradient steps of the policy: one compiled program."""
    family, clips = prior.family, prior.library.clips if prior.library else None
    nothing = None if clips is None else empty(clips[0], config.labels, 0)

    def step(state, done):
        alone = jax.tree.map(lambda x: x[None], task)
        result = adapt_from_prior(key, family, alone, prior, config, steps=steps)
        labels, played, returns = (float(x[-1].mean()) for x in result.curve)
        state = jax.tree.map(lambda x: x[0], (result.agents, result.feedback))
        return state, {"labels": int(labels), "steps": int(played), "return": returns}

    agent, feedback = drive(run, "adapting", Loop(lambda: (prior.agent, nothing), step, 1))
    if prior.belief is None or clips is None or feedback is None:
        return agent, None
    # What is believed follows from the answers alone.
    after = prior.belief.adapt(key, feedback)
    return agent, Learned(prior.belief, after, feedback, clips, family)


def _adapt_on_host(options: AdaptByReward, run: RunDirectory, prior: GradientPrior) -> int:
    family, config = make_host(prior.shape.family), prior.shape.policy
    say(f"adapting to a task of {family.name} by what it pays: nobody is asked")
    alone = jax.tree.map(lambda x: x[None], task_of(family, options.task))
    clock, steps = time.monotonic(), options.steps or 1

    def step(agent: Agent, done: int):
        key = jax.random.key(options.seed)
        loop = play_and_adapt_from(key, sampler, alone, prior, steps)
        before, after = (float(loop.returns[i].mean()) for i in (0, -1))
        played = steps * config.episodes * family.horizon
        agent = jax.tree.map(lambda x: x[-1, 0], loop.agents)
        return agent, {"steps": played, "return_before": before, "return": after}

    with closing(family.connect(num_simulators(1, config.episodes))) as env:
        sampler = HostTaskSampler(family, env)
        agent = drive(run, "adapting", Loop(lambda: prior.agent, step, 1))
    folder, last = publish_agent(run.path / "agent", agent, family.name), run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "adapt",
            "family": family.name,
            "task": options.task,
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
        f"{steps} gradient step{'s'[: steps != 1]} and {last['steps']} of the "
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
