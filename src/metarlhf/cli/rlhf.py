"""`metarlhf rlhf`: on one task, or in a simulator, from a teacher's answers, from scratch."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import jax

from metarlhf import rlhf
from metarlhf.cli.held import (
    check_marks,
    cost_words,
    costing,
    held_words,
    holding,
    parted_words,
    parting,
    standing,
)
from metarlhf.cli.options import (
    TaskName,
    TrainOptions,
    VaryOptions,
    file_name,
    open_run,
    parse_task,
    say,
    show,
    value_in,
)
from metarlhf.cli.single import (
    EPISODES,
    check_env,
    check_members,
    check_number,
    must_step_beside,
    task_number,
)
from metarlhf.envs import connect, make_family
from metarlhf.envs.base import SEGMENT_LENGTH, ShownEnv
from metarlhf.errors import UserError
from metarlhf.meta.presets import BESIDE, preset
from metarlhf.networks import publish_agent
from metarlhf.report.wording import percent
from metarlhf.reward import EnsembleConfig, publish_reward
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs import RunDirectory, drive
from metarlhf.sampling import CompiledSampler, HostSampler, Sampler

# So many answers are not few.
MANY = 200


@dataclass(frozen=True)
class RLHF(TrainOptions, VaryOptions):
    """Train on one task of a family, or in somebody else's simulator, from a simulated teacher's
    answers, beginning with nothing. What the task pays is what the teacher likes.
    """

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
    number: int = 0
    """Which of the family's held-out tasks."""
    env: str | None = None
    """A simulator in its place: a Gymnasium id such as HalfCheetah-v5, module:ID for one that your
    module registers, or envpool:ID. The options below start from settings of its own."""
    segment_length: int = SEGMENT_LENGTH
    """Steps of a clip to be judged, with --env."""
    workers: Literal["sync", "async"] = "sync"
    """With --env: Gymnasium's environments step in this process, or in a process for each core."""
    config: RLHFConfig = field(default_factory=RLHFConfig)
    """How the agent asks and learns."""
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    """The reward model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.number)
        check_env(self)
        check_members(self.config, self.ensemble)
        if not self.config.labels:
            raise ValueError(
                "config.labels must be 1 or more, but is 0: without an answer nothing says what is "
                "wanted"
            )


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    env = value_in(argv, "--env")
    if env is not None:
        must_step_beside(argv, env)
    config_of = lambda name: preset(name).few_steps if env is None else BESIDE
    default_of = lambda name: RLHF(task=name, env=env, config=config_of(name))
    options = parse_task(RLHF, argv, "rlhf", default_of)
    name = options.env or options.task
    # Before there is a directory: what cannot be made leaves none behind.
    with sampler_of(options) as sampler, open_run(options, f"rlhf-{file_name(name)}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run, sampler)


@contextmanager
def sampler_of(options: RLHF) -> Iterator[Sampler]:
    """Who acts where it was named, while its simulators run."""
    config = options.config
    if options.env is None:
        family = make_family(options.task)
        check_marks(config, family)
        yield CompiledSampler(family, task_number(family, options.number), config.ppo.num_envs)
        return
    if config.feedback == "ratings":
        raise UserError(
            f"nobody knows what the worst and the best step in {options.env} pay, so no simulated "
            "teacher can give marks there: leave --config.feedback comparisons"
        )
    if config.checks:
        raise UserError(
            "--config.watch.every is for task families: whoever practises in a host simulator is "
            "not watched yet"
        )
    if config.never.clips:
        raise UserError(
            f"nobody knows what must never be in {options.env}, so no simulated person can mark "
            "it: leave --config.never.clips out"
        )
    with (
        closing(connect(options.env, config.ppo.num_envs, options.workers)) as env,
        closing(connect(options.env, EPISODES, options.workers)) as evaluation_env,
    ):
        yield HostSampler(env, evaluation_env, ShownEnv.of(env, options.segment_length))


def _why_worse(config: RLHFConfig) -> str:
    """What it may be that made things worse."""
    if config.teacher.mistake:
        return (
            f"Of the answers {percent(config.teacher.mistake)} were wrong, as "
            "--config.teacher.mistake asks for: compare with the same run without."
        )
    if config.labels >= MANY:
        return "Its answers are many: look into what it learned of them (metarlhf explain RUN)."
    return (
        "Often so few answers say too little to begin from nothing: give more (--config.labels), "
        "or teach it from a prior (metarlhf meta-train, then adapt)."
    )


def _held_back(config: RLHFConfig) -> str:
    """That it may not be the answers, where something holds practice."""
    if config.held_by is None:
        return ""
    return (
        f" What holds it may be the cause as well: compare with the same run without "
        f"--config.{config.held_by}."
    )


def _train(options: RLHF, run: RunDirectory, sampler: Sampler) -> int:
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
    state = drive(run, "RLHF", loop)
    agent = publish_agent(run.path / "agent", state.ppo.agent, name)
    publish_reward(run.path / "reward", rlhf.learned(begin.belief, state, shown))
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
            **parting(run.metrics.rows),
            **costing(before, last),
            **holding(run.metrics.rows),
        }
    )
    line = (
        f"return {before['return']:.2f} -> {last['return']:.2f} (means of {EPISODES} episodes) "
        f"with {last['labels']} {config.feedback} and {last['steps']} steps; the agent is in "
        f"{agent}"
    )
    lines = [line]
    if last["labels"] < config.labels:
        lines.append(
            f"Of {config.labels} answers {last['labels']} were asked for: in the other rounds "
            "there was no new question about clips that lie within one episode."
        )
    elif last["return"] < before["return"]:
        lines.append(f"That is worse than before. {_why_worse(config)}{_held_back(config)}")
    lines += parted_words(result) + cost_words(result) + held_words(result, config)
    return show(result, lines, options.json)
