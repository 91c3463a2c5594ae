"""`metarlhf play`: the agent of a run plays again, and is watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from metarlhf import envs, networks
from metarlhf.cli.extras import must_have_film
from metarlhf.cli.options import File, RunPath, SeedOptions
from metarlhf.cli.parsing import parse
from metarlhf.cli.runs import begun_with, read_object, say, show
from metarlhf.errors import UserError
from metarlhf.files import kind, write_bytes

DRAWINGS = (".svg", ".png")
SIZE = (4.2, 4.2)  # inches


@dataclass(frozen=True)
class Play(SeedOptions):
    """Play episodes with the agent that a run of metarlhf ppo, rlhf or adapt trained."""

    run: RunPath = None
    """Directory of the run, or a folder that publish_agent wrote."""
    episodes: int = 10
    """Episodes to play; their mean return has a 95 % bootstrap interval."""
    draw: File = None
    """Draw the first episode into a file: of a family where it went (.svg, .png), of a Gymnasium
    environment a film (.gif, .png, .webp)."""
    record: File = None
    """Write all episodes of a family to a file, as demonstrations for metarlhf teach."""
    sample: bool = False
    """Sample actions, as in training; otherwise the likeliest are taken."""
    task: int | None = None
    """Index of the held-out task of the family; the one that it was trained on unless given."""
    agent: int = 0
    """Which agent of a run with --seeds, from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.episodes < 1:
            raise ValueError(f"episodes must be 1 or more, but is {self.episodes}")
        for name in ("task", "agent"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)}")


class Played(NamedTuple):
    """What came of playing, how to draw the first episode, and how to record all, where it can."""

    returns: Any
    draw: Callable[[Path], Any] | None
    record: Callable[[Path], Any] | None = None


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Play, argv, "play", lambda said: Play())
    folder, config = _agent_of(options)
    shape = networks.agent_shape(folder)
    if read_object(folder.parent / "result.json").get("command") == "rl2":
        raise UserError(
            f"{options.run} is a run of rl2, whose agent learns in the course of some episodes "
            "played one after the other: metarlhf.contrib.rl2.returns_by_episode plays it, and "
            "what it returned in each is in the run's result.json"
        )
    compiled, hosted = envs.knows(shape.environment), envs.is_host(shape.environment)
    family = compiled and isinstance(envs.make(shape.environment), envs.TaskFamily)
    if options.task is not None and not (family or hosted):
        raise UserError(f"--task is for task families: {shape.environment} has one task only")
    if options.record and not family:
        raise UserError(f"--record is for task families, and {shape.environment} is none")
    play = _hosted if hosted else _compiled if compiled else _stepped
    played = play(options, folder, shape, config)
    if options.draw and played.draw:
        played.draw(options.draw)
    if options.record and played.record:
        played.record(options.record)
    from metarlhf.statistics import mean_interval

    mean, low, high = mean_interval(played.returns)
    result = {
        "command": "play",
        "environment": shape.environment,
        "agent": str(folder),
        "episodes": options.episodes,
        "return": mean,
        "return_low": low,
        "return_high": high,
        "returns": played.returns.tolist(),
        "drawing": str(options.draw) if options.draw else None,
    }
    lines = _episodes([f"{value:.2f}" for value in played.returns])
    lines.append(
        f"return {mean:.2f} (95 % interval {low:.2f} to {high:.2f}) in {options.episodes} episodes "
        f"of {shape.environment}"
    )
    lines += [f"the first of them is drawn in {options.draw}"] if options.draw else []
    lines += [f"all of them are in {options.record}"] if options.record else []
    return show(result, lines, options.json)


def _episodes(returns: Sequence[str]) -> list[str]:
    """A line for each, or one where all came to the same."""
    if len(returns) > 1 and len(set(returns)) == 1:
        return [f"episodes 1 to {len(returns)}: {returns[0]} each"]
    return [f"episode {i + 1}: {value}" for i, value in enumerate(returns)]


def _agent_of(options: Play) -> tuple[Path, dict[str, Any]]:
    """The agent's folder, and what its run was begun with.

    Raises:
        UserError: there is none, and why.
    """
    from metarlhf.networks.published import KIND

    run = options.run
    if run is None:
        raise UserError("which run? metarlhf play RUN, where RUN is the directory of a run")
    if kind(run) == KIND:
        # RUN/agent, or RUN/agents/N.
        of_run = run.parent.parent if run.parent.name == "agents" else run.parent
        return run, read_object(of_run / "config.json")
    if run.is_file():
        raise UserError(f"{run} is a file: name the directory of a run, or its folder agent")
    config, result = begun_with(run), read_object(run / "result.json")
    if (run / "agent").exists():
        if options.agent:
            raise UserError(f"{run} has one agent: --agent is for runs with --seeds")
        return run / "agent", config
    agents = sorted((run / "agents").glob("*"))
    if agents:
        if options.agent >= len(agents):
            raise UserError(
                f"{run} has {len(agents)} agents, numbered from 0: there is no {options.agent}"
            )
        return run / "agents" / str(options.agent), config
    if not result:
        raise UserError(
            f"{run} has no agent: its run is not finished. Go on with the same command and "
            "--resume; runs of ppo, rlhf and adapt have one at their end"
        )
    raise UserError(
        f"{run} is a run of metarlhf {result.get('command')}, which leaves no agent: expected one "
        "of ppo, rlhf or adapt"
    )


def _check_suffix(path: Path | None, known: Sequence[str], what: str) -> None:
    if path is not None and path.suffix not in known:
        raise UserError(f"--draw {path}: {what} is written as {', '.join(known)}")


def _play(key, family, task, actor, episodes: int, deterministic: bool):
    """Returns of whole episodes, and the episodes."""
    from metarlhf.sampling import episode_return
    from metarlhf.sampling.compiled import play_episodes

    found = play_episodes(key, family, task, actor, episodes, deterministic)
    return episode_return(found), found


def _compiled(
    options: Play, folder: Path, shape: networks.AgentShape, config: dict[str, Any]
) -> Played:
    import jax
    import numpy as np

    family = envs.make(shape.environment)
    if options.draw and not isinstance(family, envs.TaskFamily):
        raise UserError(
            f"--draw has drawings of task families and films of Gymnasium's environments, and "
            f"{shape.environment} is neither"
        )
    _check_suffix(options.draw, DRAWINGS, f"a drawing of {shape.environment}")
    task = _task(options, family, config)
    actor, key = networks.load_agent(folder).actor, jax.random.key(options.seed)
    play = jax.jit(_play, static_argnames=("family", "episodes", "deterministic"))
    returns, found = play(key, family, task, actor, options.episodes, not options.sample)
    returns = np.asarray(returns)
    if not isinstance(family, envs.TaskFamily):
        return Played(returns, None)
    first = (np.asarray(leaf[0]) for leaf in (found.obs, found.next_obs, found.done))
    draw = partial(_draw, family, task, *first, float(returns[0]))
    return Played(returns, draw, partial(_record, found))


def _record(found: Any, path: Path) -> None:
    """All episodes until their ends, into a file."""
    import numpy as np

    from metarlhf.rlhf.demonstrations import write_demonstrations

    done = np.asarray(found.done)
    length = np.where(done.any(1), done.argmax(1) + 1, done.shape[1])
    until = np.arange(done.shape[1]) < length[:, None]
    obs, action = (np.asarray(x)[until] for x in (found.obs, found.action))
    write_demonstrations(path, obs, action, length)


def _draw(
    family: envs.TaskFamily,
    task: Any,
    obs: Any,
    next_obs: Any,
    done: Any,
    paid: float,
    path: Path,
) -> None:
    """Where the episode of these steps went, until its end, into a file."""
    import numpy as np

    from metarlhf.report.style import picture

    length = int(done.argmax()) + 1 if done.any() else len(done)
    seen = np.concatenate([obs[:length], next_obs[length - 1 : length]])

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        envs.draw_trajectory(axes, family, seen, task)
        if not len(axes.get_xticks()):  # a place, with an outline of its own, and no scales
            axes.spines[:].set_visible(False)
        axes.set_title(f"{family.name}: return {paid:.2f} in {length} steps")

    write_bytes(path, picture(draw, SIZE, path.suffix))


def _task(options: Play, family: envs.Tasks, config: dict[str, Any]) -> Any:
    """The task that it was trained on, or the one that is named."""
    from metarlhf.cli.environment import task_of

    index = config.get("task", 0) if options.task is None else options.task
    return task_of(family, index, config.get("seed", 0))


def _hosted(
    options: Play, folder: Path, shape: networks.AgentShape, config: dict[str, Any]
) -> Played:
    """In a family's simulators, all of them in one task."""
    import jax
    import numpy as np

    from metarlhf.sampling import host

    family, key = envs.make_host(shape.environment), jax.random.key(options.seed)
    if options.draw:
        raise UserError(f"--draw: simulators of {family.name} are told a task, and do not draw")
    task = _task(options, family, config)
    with closing(family.connect(options.episodes)) as env:
        env.set_tasks(jax.tree.map(lambda x: np.stack([x] * options.episodes), task))
        actor = networks.load_agent(folder, env).actor
        return Played(host.evaluate(key, env, actor, not options.sample), None)


def _stepped(
    options: Play, folder: Path, shape: networks.AgentShape, config: dict[str, Any]
) -> Played:
    import jax
    import numpy as np

    from metarlhf.report.film import FORMATS, Film
    from metarlhf.sampling import host

    name, key = shape.environment, jax.random.key(options.seed)
    _check_suffix(options.draw, list(FORMATS), f"a film of {name}")
    if options.draw is None:
        with closing(envs.connect(name, options.episodes)) as env:
            actor = networks.load_agent(folder, env).actor
            return Played(host.evaluate(key, env, actor, not options.sample), None)
    must_have_film()
    # Filmed first: where nothing can be drawn nobody waits for the other episodes.
    with closing(envs.film(name)) as stage:
        say(f"filming an episode of {name}")
        actor, made = (
            networks.load_agent(folder, stage).actor,
            Film(options.draw.suffix, stage.frames_per_second),
        )
        _, paid = host.film(key, stage, actor, made.add, not options.sample)
    returns = np.array([paid], np.float32)
    if options.episodes > 1:
        with closing(envs.connect(name, options.episodes)) as env:
            others = host.evaluate(key, env, actor, not options.sample)
        returns = np.concatenate([returns, others[1:]])
    return Played(returns, lambda path: write_bytes(path, made.finish()))
