"""`metarlhf rl2`: meta-train a policy that remembers, and measure it on held-out tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import jax
import numpy as np

from metarlhf.cli.options import FamilyOptions, TrainOptions, file_name, with_family
from metarlhf.cli.parsing import Said, compute_in_the_foreground, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.contrib import rl2
from metarlhf.contrib.config import RL2Config
from metarlhf.envs import Environment, is_host, make, make_family
from metarlhf.meta.tasks import held_out_tasks
from metarlhf.networks import Agent, publish_agent
from metarlhf.runs import RunDirectory, drive
from metarlhf.sampling import EVALUATION
from metarlhf.statistics import Interval, mean_interval
from metarlhf.training import Loop

# Tasks, and trials of each, by which progress is told.
WATCHED, TRIALS = 16, 2


@dataclass(frozen=True)
class RL2(TrainOptions, FamilyOptions):
    """Meta-train a recurrent policy that learns a task while it plays, by what it remembers (RL²),
    and measure it on held-out tasks, episode by episode.

    The task's own reward pays. Without inner loop and gradients at test time it is what other
    meta-learners are compared with.
    """

    FEW: ClassVar = (
        "family", "vary", "tasks", "episodes", "ppo.total_steps", "ppo.num_envs", "ppo.num_steps",
        "ppo.lr", "ppo.gamma", "ppo.memory", "ppo.memory_size", "run_dir", "seed", "resume", "log",
    )  # fmt: skip

    tasks: int = 40
    """Held-out tasks to measure it on in the end."""
    config: RL2Config = field(default_factory=RL2Config)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tasks < 1:
            raise ValueError(f"tasks must be at least 1, but is {self.tasks}")


def presets(said: Said) -> RL2:
    """The defaults where so much is said: between two updates a whole trial is played."""
    family, config = said.get("family") or "navigation", RL2Config()
    if is_host(family):
        raise ValueError(
            f"{family} steps outside the program, and rl2 is for compiled families: metarlhf tasks "
            "lists them"
        )
    compute_in_the_foreground()
    steps = max(1, said.get("episodes", config.episodes)) * make(family).horizon
    return RL2(family=family, config=replace(config, ppo=replace(config.ppo, num_steps=steps)))


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = with_family(parse(RL2, argv, "rl2", presets))
    name = options.family or ""
    with open_run(options, f"rl2-{file_name(name)}", along="steps") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run, make_family(name))


def _train(options: RL2, run: RunDirectory, family: Environment) -> int:
    config, key = options.config, jax.random.key(options.seed)
    say(f"RL² on {family.name}: {config.ppo.total_steps} steps, in {run.path}")
    watched = held_out_tasks(family, WATCHED, "validation")

    def step(state, done):
        left = config.ppo.num_updates - done * config.ppo.evaluate_every
        state, metrics = rl2.iterate_many(
            state, family, config, min(config.ppo.evaluate_every, left)
        )
        # Not with what the next update plays with.
        key = jax.random.fold_in(state.key, EVALUATION)
        found = _returns(key, family, watched, state.agent, config, TRIALS)
        return state, {
            "steps": int(state.updates) * config.ppo.batch_size,
            "return": float(found[:, -1].mean()),
            "return_first_episode": float(found[:, 0].mean()),
        } | {name: float(np.mean(values)) for name, values in metrics.items()}

    total = -(-config.ppo.num_updates // config.ppo.evaluate_every)
    start = lambda: rl2.init(key, family, config)
    state = drive(run, "RL²", Loop(start, step, total, unit="evaluations"))
    agent = publish_agent(run.path / "agent", state.agent, rl2.trials_of(family, config).name)
    tasks = held_out_tasks(family, options.tasks)
    test_key = jax.random.fold_in(key, 0xADA)
    returns = _returns(test_key, family, tasks, state.agent, config, 2 * TRIALS)
    each = [mean_interval(episode[None]) for episode in returns.T]
    gained = mean_interval((returns[:, -1] - returns[:, 0])[None]) if len(each) > 1 else None
    result = run.finish(
        {
            "command": "rl2",
            "family": family.name,
            "steps": run.metrics.rows[-1]["steps"],
            "held_out_tasks": options.tasks,
            "return": each[-1].mean,
            "returns_by_episode": [interval._asdict() for interval in each],
            "gain": gained and gained._asdict(),
            "agent": str(agent),
        }
    )
    told = ", ".join(f"{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in each)
    lines = [
        f"On {options.tasks} held-out tasks, return in each episode of a trial: {told}. The agent "
        f"is in {agent}; metarlhf.contrib.rl2 plays it",
        _adapts(gained),
    ]
    return show(result, lines, options.json)


def _adapts(gained: Interval | None) -> str:
    """What the last episode gains on the first, in words."""
    if gained is None:
        return "A trial is one episode: nothing says what remembering it is good for."
    told = f"{gained.mean:.2f} [{gained.low:.2f}, {gained.high:.2f}]"
    if gained.low > 0:
        return f"It adapts: the last episode of a trial gains {told} on the first."
    if gained.high < 0:
        return f"It forgets: the last episode of a trial loses on the first, {told}."
    return (
        f"Nothing adapts: the last episode of a trial gains {told} on the first, which is chance."
    )


def _returns(key, family, tasks, agent: Agent, config: RL2Config, count: int) -> np.ndarray:
    """Mean over `count` trials, shape (task, episode)."""
    return np.asarray(rl2.returns_by_episode(key, family, tasks, agent, config, count).mean(1))
