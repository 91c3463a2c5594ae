"""`metarlhf ppo`: train on one task with its own reward."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from metarlhf import ppo
from metarlhf.cli.options import RunOptions, TaskName, family_in, open_run, parse, say, show
from metarlhf.cli.single import publish_agent, task_number, true_return
from metarlhf.envs.registry import make
from metarlhf.meta.presets import preset
from metarlhf.ppo import PPOConfig
from metarlhf.runs import RunDirectory, drive


@dataclass(frozen=True)
class PPO(RunOptions):
    """Train PPO on one task of a family, with the task's own reward.

    It ends with its budget of steps, or before, with --config.patience, when it has converged.
    """

    task: TaskName = "cartpole"
    """The task family; its preset is what the options below start from."""
    number: int = 0
    """Which of the family's held-out tasks."""
    config: PPOConfig = field(default_factory=PPOConfig)
    """How it learns."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    name = family_in(argv, PPO.task)
    options = parse(PPO, argv, "ppo", PPO(task=name, config=preset(name).oracle))
    with open_run(options, f"ppo-{options.task.replace('/', '-')}") as run:
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run)


def _train(options: PPO, run: RunDirectory) -> int:
    family, config = make(options.task), options.config
    task = task_number(family, options.number)
    key = jax.random.key(options.seed)
    say(f"PPO on {family.name}: up to {config.total_steps} steps, in {run.path}")

    def step(state, done):
        updates = min(config.evaluate_every, config.num_updates - done * config.evaluate_every)
        state, metrics = ppo.iterate_many(state, family, task, config, updates)
        found = true_return(state.key, family, task, state.agent, config.evaluation_episodes)
        means = {name: float(np.mean(values)) for name, values in metrics.items()}
        steps = int(state.updates) * config.batch_size
        return state, {"steps": steps, "return": found} | means

    state = drive(
        run,
        "PPO",
        lambda: ppo.init(key, family, task, config),
        step,
        -(-config.num_updates // config.evaluate_every),
        stop=lambda rows: ppo.converged([row["return"] for row in rows], config),
    )
    agent = publish_agent(run, state.agent, family, config.hidden)
    last = run.metrics.rows[-1]
    result = run.finish(
        {
            "command": "ppo",
            "family": family.name,
            "return": last["return"],
            "steps": last["steps"],
            "converged": ppo.converged([row["return"] for row in run.metrics.rows], config),
            "agent": str(agent),
        }
    )
    line = f"return {last['return']:.2f} after {last['steps']} steps; the agent is in {agent}"
    return show(result, [line], options.json)
