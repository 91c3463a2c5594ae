"""`metarlhf tasks`: what there is to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from metarlhf import envs
from metarlhf.cli.parsing import parse
from metarlhf.cli.runs import show
from metarlhf.errors import MissingSimulatorError

# What can be named besides, and where it comes from.
BESIDES = (
    ("metaworld/ML10, metaworld/ML45, metaworld/ML1-NAME", "Meta-World, by the extra 'metaworld'"),
    ("gymnax:NAME --vary PARAMETER=uniform(LOW,HIGH)", "any of Gymnax, by the extra 'gymnax'"),
    ("MODULE:NAME", "a family of your own, see the README"),
)


@dataclass(frozen=True)
class Tasks:
    """List the task families: what varies from task to task, horizon and spaces."""

    json: bool = False
    """Print one JSON object instead of a table."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Tasks, argv, "tasks", lambda said: Tasks())
    families = [(name, envs.make_family(name)) for name in envs.names()]
    hosts = _hosts()
    if options.json:
        entries = [_entry(name, family) for name, family in families]
        return show({"tasks": entries + [_host_entry(family) for family in hosts]}, [], True)
    table = Table("task", "what varies", "horizon", "observation", "action", box=None)
    for name, family in families:
        table.add_row(
            name,
            family.varies if name == family.name else f"the same as {family.name}",
            str(family.horizon),
            f"{family.observation_space.size} numbers",
            _action(family.action_space),
        )
    for family in hosts:
        space = family.observation_space
        seen = f"{space.size} numbers" if isinstance(space, envs.Box) else str(space)
        row = (family.name, family.varies, str(family.horizon), seen)
        table.add_row(*row, str(family.action_space))
    if not hosts:
        table.add_row(envs.host_names()[0], "and its like come with the extra 'mujoco'", "", "", "")
    # The whole table also where nobody can say how wide the window is.
    console = Console() if Console().is_terminal else Console(width=120)
    console.print(table)
    besides = Table("or", "from", box=None)
    for words, origin in BESIDES:
        besides.add_row(words, origin)
    console.print()
    console.print(besides)
    return 0


def _hosts() -> list[envs.HostFamily]:
    """Families of host simulators; none without MuJoCo."""
    try:
        return [envs.make_host(name) for name in envs.host_names()]
    except MissingSimulatorError:
        return []


def _host_entry(family: envs.HostFamily) -> dict:
    space = family.observation_space
    return {
        "task": family.name,
        "family": family.name,
        "varies": family.varies,
        "horizon": family.horizon,
        "observation": list(space.names) if isinstance(space, envs.Box) else str(space),
        "action": list(family.action_space.names),
        "action_kind": "continuous" if isinstance(family.action_space, envs.Box) else "discrete",
        "simulator": "mujoco",
    }


def _action(space: envs.Box | envs.Discrete) -> str:
    if isinstance(space, envs.Discrete):
        return f"one of {space.size}"
    return f"{space.size} in [{space.low:g}, {space.high:g}]"


def _entry(name: str, family: envs.TaskFamily) -> dict:
    space = family.action_space
    return {
        "task": name,
        "family": family.name,
        "varies": family.varies,
        "horizon": family.horizon,
        "segment_length": family.segment_length,
        "reward_bounds": list(family.reward_bounds),
        "observation": list(family.observation_space.names),
        "action": list(space.names),
        "action_kind": "discrete" if isinstance(space, envs.Discrete) else "continuous",
    }
