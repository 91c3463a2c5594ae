"""`metarlhf ppo`: train on one task, or in any simulator, with its own reward."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax

from metarlhf import ppo
from metarlhf.cli.options import (
    TaskName,
    TrainOptions,
    VaryOptions,
    file_name,
    one_of_both,
    open_run,
    parse_task,
    say,
    show,
    value_in,
)
from metarlhf.cli.single import check_number, task_number
from metarlhf.envs import Environment, TaskFamily, connect, make
from metarlhf.errors import UserError
from metarlhf.files import digest
from metarlhf.meta.presets import preset
from metarlhf.networks import publish_agent
from metarlhf.ppo import PPOConfig, TrainState
from metarlhf.ppo.presets import GYMNAX, MINATAR, STEPPED
from metarlhf.ppo.train import LearnedUpdate, UpdateRule, check_learned
from metarlhf.runs import RunDirectory, drive
from metarlhf.sampling import CompiledSampler, HostSampler, Sampler
from metarlhf.types import Task

# What is for Adam alone.
ADAMS = ("lr", "anneal_lr")


@dataclass(frozen=True)
class PPO(TrainOptions, VaryOptions):
    """Train PPO on one task of a family, or in somebody else's simulator, with its own reward.

    It ends with its budget of steps, or before, with --config.patience, when it has converged.
    """

    task: TaskName = "cartpole"
    """The task family; its preset is what the options below start from."""
    number: int = 0
    """Which of the family's held-out tasks."""
    env: str | None = None
    """A simulator in its place: a Gymnasium id such as HalfCheetah-v5, module:ID for one that your
    module registers, envpool:ID or gymnax:ID. The options below start from settings of its own."""
    seeds: int = 1
    """So many agents side by side in one compiled program, from seeds that follow from --seed: the
    return is then their interquartile mean, with a 95 % bootstrap interval. Not for simulators that
    step outside the program."""
    workers: Literal["sync", "async"] = "sync"
    """Gymnasium's environments step in this process, or in a process for each core."""
    learned: str | None = None
    """What stands in the place of Adam or of clipping: a folder that `metarlhf search` wrote, or
    shipped:optimiser for the one that comes with this program. It was made for trainings like
    those of `search`: from scratch, 96,000 steps, 480 steps of gradient. An optimiser has no step
    size: --config.lr is for Adam."""
    config: PPOConfig = field(default_factory=PPOConfig)
    """How it learns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.number)
        if self.seeds < 1:
            raise ValueError(f"seeds must be 1 or more, but is {self.seeds}")
        if self.env and self.vary:
            raise ValueError(
                "--vary is for Gymnax's environments, which are named as the task: --env "
                f"{self.env} is one task"
            )


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    env = value_in(argv, "--env")
    if env is not None:
        one_of_both(argv, env)
    default_of = lambda name: PPO(task=name, env=env, config=_defaults(env, name))
    options = parse_task(PPO, argv, "ppo", default_of)
    if options.env and options.task != PPO.task:
        raise UserError(f"either the task {options.task!r} or --env {options.env}, not both")
    if options.env and options.number:
        raise UserError(f"--number is for task families, and --env {options.env} is one task")
    elsewhere = (options.env or "gymnax:").startswith(("gymnax:", "envpool:"))
    if options.workers == "async" and elsewhere:
        raise UserError(
            "--workers is for Gymnasium's environments: compiled tasks and EnvPool have threads"
        )
    name, learned = options.env or options.task, _learned(options)
    # Before there is a directory: what cannot be made leaves none behind.
    with (
        _sampler(options) as sampler,
        open_run(options, f"ppo-{file_name(name)}", _digest(options), along="steps") as run,
    ):
        if run.result:
            return show(run.result, [f"finished before: see {run.path}/result.json"], options.json)
        return _train(options, run, sampler, learned)


def _defaults(env: str | None, task: str) -> PPOConfig:
    if env is None:
        return preset(task).oracle
    if not env.startswith("gymnax:"):
        return STEPPED
    return MINATAR if env.endswith("-MinAtar") else GYMNAX


@contextmanager
def _sampler(options: PPO) -> Iterator[Sampler]:
    """Who acts where it was named, while its simulators run."""
    name, config = options.env or options.task, options.config
    if options.env is None or name.startswith("gymnax:"):
        env = make(name)
        yield CompiledSampler(env, _task_of(options, env), config.num_envs)
        return
    if options.seeds > 1:
        raise UserError(
            f"--seeds is for compiled environments, and {name} steps outside the program: run it "
            "once for each --seed, each with a --run-dir of its own"
        )
    with (
        closing(connect(name, config.num_envs, options.workers)) as env,
        closing(connect(name, config.evaluation_episodes, options.workers)) as evaluation_env,
    ):
        yield HostSampler(env, evaluation_env)


def _learned(options: PPO) -> LearnedUpdate | None:
    if options.learned is None:
        return None
    from metarlhf.contrib.learned import load_learned

    learned, usual = load_learned(options.learned), _defaults(options.env, options.task)
    idle = [name for name in ADAMS if getattr(options.config, name) != getattr(usual, name)]
    if idle and isinstance(learned, UpdateRule):
        named = " and ".join(f"--config.{name.replace('_', '-')}" for name in idle)
        raise UserError(
            f"{named} would do nothing: it is for Adam, and a learned optimiser has no step size. "
            "Leave it out"
        )
    try:
        check_learned(learned, options.config)
    except ValueError as error:
        raise UserError(str(error)) from error
    return learned


def _digest(options: PPO) -> str | None:
    """Tells apart what was searched for anew in the same folder."""
    if not options.learned:
        return None
    from metarlhf.contrib.learned import learned_folder

    return digest(learned_folder(options.learned))


def _task_of(options: PPO, family: Environment) -> Task:
    if isinstance(family, TaskFamily):
        return task_number(family, options.number)
    return family.sample(jax.random.key(options.seed))


def _train(options: PPO, run: RunDirectory, sampler: Sampler, learned: LearnedUpdate | None) -> int:
    config, key = options.config, jax.random.key(options.seed)
    say(f"PPO on {sampler.name}: up to {config.total_steps} steps, in {run.path}")
    if options.seeds == 1:
        loop = ppo.training(key, sampler, config, learned=learned)
    else:
        loop = ppo.training_seeds(jax.random.split(key, options.seeds), sampler, config, learned)
    state = drive(run, "PPO", loop)
    agents = _publish(run, state, sampler.name, options.seeds)
    last = next(row for row in reversed(run.metrics.rows) if "return" in row)
    result = run.finish(
        {
            "command": "ppo",
            "family": sampler.name,
            "return": last["return"],
            "steps": last["steps"],
            "converged": ppo.has_converged(run.metrics.rows, config),
            "agent": str(agents[0]),
        }
        | ({} if options.seeds == 1 else _of_seeds(last, agents))
    )
    if options.seeds == 1:
        line = f"return {last['return']:.2f} after {last['steps']} steps; the agent is in"
    else:
        line = (
            f"return {last['return']:.2f} (interquartile mean of {options.seeds} seeds, 95 % "
            f"interval {last['return_low']:.2f} to {last['return_high']:.2f}) after "
            f"{last['steps']} steps; the first agent is in"
        )
    return show(result, [f"{line} {agents[0]}"], options.json)


def _publish(run: RunDirectory, state: TrainState, name: str, seeds: int) -> list[Path]:
    """Write every agent that was trained."""
    if seeds == 1:
        return [publish_agent(run.path / "agent", state.agent, name)]
    each = [jax.tree.map(lambda x: x[i], state.agent) for i in range(seeds)]
    return [
        publish_agent(run.path / "agents" / str(i), agent, name) for i, agent in enumerate(each)
    ]


def _of_seeds(last: dict[str, Any], agents: list[Path]) -> dict[str, Any]:
    kept = {name: last[name] for name in ("return_low", "return_high", "returns")}
    return kept | {"agents": [str(agent) for agent in agents]}
