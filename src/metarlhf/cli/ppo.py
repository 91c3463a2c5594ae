"""`metarlhf ppo`: train on one task, or in any simulator, with its own reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from metarlhf import networks, ppo, runs, sampling
from metarlhf.cli.environment import sampler_of
from metarlhf.cli.options import EnvironmentOptions, TrainOptions, file_name, named, with_family
from metarlhf.cli.parsing import Said, parse
from metarlhf.cli.runs import open_run, say, show
from metarlhf.errors import UserError
from metarlhf.meta.presets import preset
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.presets import of_simulator

if TYPE_CHECKING:
    from metarlhf.ppo.train import LearnedUpdate

# What is for Adam alone.
ADAMS = ("lr", "anneal_lr")


@dataclass(frozen=True)
class PPO(TrainOptions, EnvironmentOptions):
    """Train PPO on a task of a family, or in any simulator, with its own reward.

    Training ends when its budget of steps is spent, or before that, by --patience.
    """

    FEW: ClassVar = (
        "family", "env", "task", "total_steps", "num_envs", "num_steps", "lr", "gamma",
        "entropy_coefficient", "objective", "memory", "patience", "seeds", "learned", "run_dir",
        "seed", "resume", "log",
    )  # fmt: skip

    seeds: int = 1
    """Agents trained at once in one compiled program, from seeds that follow from --seed; the
    return is then their interquartile mean, with a 95 % interval."""
    learned: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Learned optimiser in place of Adam, or drift in place of clipping: a folder that metarlhf
    search wrote, or shipped:optimiser (made for 96,000 steps from scratch)."""
    config: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds < 1:
            raise ValueError(f"seeds must be 1 or more, but is {self.seeds}")


def presets(said: Said) -> PPO:
    """The defaults where so much is said."""
    return _with_settings(PPO(**named(said, "cartpole")))


def _with_settings(options: PPO) -> PPO:
    tuned = of_simulator(options.env) if options.env else preset(options.name).oracle
    return replace(options, config=tuned)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = with_family(parse(PPO, argv, "ppo", presets))
    learned, config = _learned(options), options.config
    name = f"ppo-{file_name(options.name)}"
    # Before there is a directory: what cannot be made leaves none behind.
    with sampler_of(options, config.num_envs, config.evaluation_episodes, options.seed) as sampler:
        if options.seeds > 1 and not sampler.pure:
            raise UserError(
                f"--seeds is for compiled environments, and {sampler.name} steps outside the "
                "program: run it once for each --seed, each with a --run-dir of its own"
            )
        with open_run(options, name, _digest(options), along="steps") as run:
            if run.result:
                finished = [f"finished before: see {run.path}/result.json"]
                return show(run.result, finished, options.json)
            return _train(options, run, sampler, learned)


def _learned(options: PPO) -> LearnedUpdate | None:
    if options.learned is None:
        return None
    from metarlhf.contrib.learned import load_learned
    from metarlhf.ppo.train import UpdateRule, check_learned

    learned, usual = load_learned(options.learned), _with_settings(options).config
    idle = [name for name in ADAMS if getattr(options.config, name) != getattr(usual, name)]
    if idle and isinstance(learned, UpdateRule):
        given = " and ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise UserError(
            f"{given} would do nothing: it is for Adam, and a learned optimiser has no step size. "
            "Leave it out"
        )
    try:
        check_learned(learned, options.config)
    except ValueError as error:
        raise UserError(str(error)) from error
    return learned


def _digest(options: PPO) -> str | None:
    """Tells apart what was searched for anew in the same folder."""
    if options.learned is None:
        return None
    from metarlhf.contrib.learned import learned_folder
    from metarlhf.files import digest

    return digest(learned_folder(options.learned))


def _train(
    options: PPO,
    run: runs.RunDirectory,
    sampler: sampling.Sampler,
    learned: LearnedUpdate | None,
) -> int:
    import jax

    config, key = options.config, jax.random.key(options.seed)
    say(f"PPO on {sampler.name}: up to {config.total_steps} steps, in {run.path}")
    if options.seeds == 1:
        loop = ppo.training(key, sampler, config, learned=learned)
    else:
        loop = ppo.training_seeds(jax.random.split(key, options.seeds), sampler, config, learned)
    state = runs.drive(run, "PPO", loop)
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


def _publish(run: runs.RunDirectory, state: ppo.TrainState, name: str, seeds: int) -> list[Path]:
    """Write every agent that was trained."""
    import jax

    if seeds == 1:
        return [networks.publish_agent(run.path / "agent", state.agent, name)]
    each = [jax.tree.map(lambda x: x[i], state.agent) for i in range(seeds)]
    return [
        networks.publish_agent(run.path / "agents" / str(i), agent, name)
        for i, agent in enumerate(each)
    ]


def _of_seeds(last: dict[str, Any], agents: list[Path]) -> dict[str, Any]:
    kept = {name: last[name] for name in ("return_low", "return_high", "returns")}
    return kept | {"agents": [str(agent) for agent in agents]}
