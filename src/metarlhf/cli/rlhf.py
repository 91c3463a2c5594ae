"""`metarlhf rlhf`: on one task, or in a simulator, from a teacher's answers, from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from metarlhf import networks, reward, rlhf, runs, sampling
from metarlhf.cli import outcome
from metarlhf.cli.environment import sampler_of
from metarlhf.cli.options import (
    JudgedOptions,
    TrainOptions,
    check_members,
    file_name,
    named,
    with_family,
)
from metarlhf.cli.parsing import Said, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.meta.presets import BESIDE, preset
from metarlhf.reward.config import EnsembleConfig
from metarlhf.rlhf.config import RLHFConfig

# So many answers are not few.
MANY = 200


@dataclass(frozen=True)
class RLHF(TrainOptions, JudgedOptions):
    """Train on a task of a family, or in any Gymnasium environment, from a simulated teacher's
    answers, from scratch. The teacher prefers what the task's own reward pays more for.
    """

    FEW: ClassVar = (
        "family", "env", "task", "labels", "feedback", "rounds", "updates", "final_updates",
        "teacher.mistake", "ensemble.members", "pessimism", "leash", "watch.every", "never.clips",
        "ppo.lr", "ppo.num_envs", "run_dir", "seed", "resume", "log",
    )  # fmt: skip

    config: RLHFConfig = field(default_factory=RLHFConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_members(self.config, self.ensemble)
        if not self.config.labels:
            raise ValueError(
                "labels must be 1 or more, but is 0: without an answer nothing says what is wanted"
            )
        if self.env is None:
            return
        if self.config.feedback == "ratings":
            raise ValueError(
                f"nobody knows what the worst and the best step in {self.env} pay, so no simulated "
                "teacher can give marks there: leave --feedback at comparisons"
            )
        if self.config.checks:
            raise ValueError(
                "watch.every is for task families: whoever practises in a host simulator is not "
                "watched yet"
            )


def presets(said: Said) -> RLHF:
    """The defaults where so much is said."""
    where = named(said, "navigation")
    family = where["family"]
    return RLHF(**where, config=preset(family).few_steps if family else BESIDE)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = with_family(parse(RLHF, argv, "rlhf", presets))
    from metarlhf.experiments.standing import EPISODES

    name, num_envs = f"rlhf-{file_name(options.name)}", options.config.ppo.num_envs
    # Before there is a directory: what cannot be made leaves none behind.
    with sampler_of(options, num_envs, EPISODES, options.seed) as sampler:
        outcome.check_marks(options.config, sampler.shown)
        with open_run(options, name) as run:
            if run.result:
                finished = [f"finished before: see {run.path}/result.json"]
                return show(run.result, finished, options.json)
            return _train(options, run, sampler)


def _why_worse(config: RLHFConfig) -> str:
    """What it may be that made things worse."""
    from metarlhf.report.wording import percent

    if config.teacher.mistake:
        return (
            f"Of the answers {percent(config.teacher.mistake)} were wrong, as "
            "--teacher.mistake asks for: compare with the same run without."
        )
    if config.labels >= MANY:
        return "Its answers are many: look into what it learned of them (metarlhf explain RUN)."
    return (
        "Often so few answers say too little to begin from nothing: give more (--labels), "
        "or teach it from a prior (metarlhf meta-train, then adapt)."
    )


def _held_back(config: RLHFConfig) -> str:
    """That it may not be the answers, where something holds practice."""
    if config.held_by is None:
        return ""
    return (
        f" What holds it may be the cause as well: compare with the same run without "
        f"--{config.held_by}."
    )


def _train(options: RLHF, run: runs.RunDirectory, sampler: sampling.Sampler) -> int:
    import jax

    from metarlhf.experiments.standing import EPISODES, standing

    config, name = options.config, sampler.name
    say(f"RLHF on {name}: {config.labels} {config.feedback}, in {run.path}")
    loop = rlhf.training(
        lambda: rlhf.from_scratch(jax.random.key(options.seed), sampler, config, options.ensemble),
        sampler,
        config,
        lambda state: standing(state, sampler, config),
    )
    begin, shown = loop.start(), sampler.without_termination().shown
    before = standing(begin, sampler, config)
    state = runs.drive(run, "RLHF", loop)
    agent = networks.publish_agent(run.path / "agent", state.ppo.agent, name)
    reward.publish_reward(run.path / "reward", rlhf.reward_record(begin.belief, state, shown))
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "rlhf",
            "family": name,
            "feedback": config.feedback,
            "labels": last["labels"],
            "steps": last["steps"],
            "return_before": before["return"],
            "return": last["return"],
            "agent": str(agent),
            **outcome.parting(run.metrics.rows),
            **outcome.costing(before, last),
            **outcome.holding(run.metrics.rows),
        }
    )
    line = (
        f"return {before['return']:.2f} -> {last['return']:.2f} (means of {EPISODES} "
        f"episodes) with {last['labels']} {config.feedback} and {last['steps']} steps; the agent "
        f"is in {agent}"
    )
    lines = [line]
    if last["labels"] < config.labels:
        lines.append(
            f"Of {config.labels} answers {last['labels']} were asked for: in the other rounds "
            "there was no new question about clips that lie within one episode."
        )
    elif last["return"] < before["return"]:
        lines.append(f"That is worse than before. {_why_worse(config)}{_held_back(config)}")
    lines += (
        outcome.parted_words(result)
        + outcome.cost_words(result)
        + outcome.held_words(result, config)
    )
    return show(result, lines, options.json)
