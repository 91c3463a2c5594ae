"""`metarlhf rlhf`: train on one task from a teacher's answers, from scratch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax

from metarlhf import rlhf
from metarlhf.cli.options import TaskName, TrainOptions, file_name, open_run, parse_task, say, show
from metarlhf.cli.single import check_number, practise, run_round, task_number, true_return
from metarlhf.envs import TaskFamily, make_family
from metarlhf.meta.presets import preset
from metarlhf.networks import publish_agent
from metarlhf.reward import EnsembleConfig, publish_reward
from metarlhf.rlhf import RLHFConfig
from metarlhf.runs import RunDirectory, drive


@dataclass(frozen=True)
class RLHF(TrainOptions):
    """Train on one task of a family from a simulated teacher's answers, beginning with nothing."""

    task: TaskName = "navigation"
    """The task family; its preset is what the options below start from."""
    number: int = 0
    """Which of the family's held-out tasks."""
    config: RLHFConfig = field(default_factory=RLHFConfig)
    """How the agent asks and learns."""
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    """The reward model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.number)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    default_of = lambda name: RLHF(task=name, config=preset(name).few_steps)
    options = parse_task(RLHF, argv, "rlhf", default_of)
    family = make_family(options.task)
    with open_run(options, f"rlhf-{file_name(options.task)}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run, family)


def _train(options: RLHF, run: RunDirectory, family: TaskFamily) -> int:
    config = options.config
    learning = family.without_termination()
    task = task_number(family, options.number)
    key = jax.random.key(options.seed)
    say(f"RLHF on {family.name}: {config.labels} {config.feedback}, in {run.path}")

    def start():
        return rlhf.from_scratch(key, learning, task, config, options.ensemble)

    def step(state, done):
        proceed = run_round if done < config.rounds else practise
        state = proceed(state, learning, task, config)
        found = true_return(state.key, family, task, state.ppo.agent)
        labels, steps = int(state.answers.count), int(state.steps)
        return state, {"labels": labels, "steps": steps, "return": found}

    begin = start()
    before = true_return(begin.key, family, task, begin.ppo.agent)
    state = drive(run, "RLHF", start, step, config.rounds + (config.final_updates > 0))
    agent = publish_agent(run.path / "agent", state.ppo.agent, family.name)
    publish_reward(run.path / "reward", rlhf.learned(begin.belief, state, family))
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "rlhf",
            "family": family.name,
            "feedback": config.feedback,
            "labels": last["labels"],
            "steps": last["steps"],
            "return_before": before,
            "return": last["return"],
            "agent": str(agent),
        }
    )
    line = (
        f"return {before:.2f} -> {last['return']:.2f} with {last['labels']} {config.feedback} and "
        f"{last['steps']} steps; the agent is in {agent}"
    )
    lines = [line]
    if last["labels"] < config.labels:
        lines.append(
            f"Of {config.labels} answers {last['labels']} were asked for: in the other rounds "
            "there was no new question about clips that lie within one episode."
        )
    elif last["return"] < before:
        lines.append(
            "That is worse than before: so few answers say too little to begin from nothing. Give "
            "more (--config.labels), or teach it from a prior (metarlhf meta-train, then adapt)."
        )
    return show(result, lines, options.json)
