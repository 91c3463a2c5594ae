"""Agents on disk: safetensors, and JSON that says of what shape they are and where they act."""

from dataclasses import asdict, dataclass
from pathlib import Path

import jax

from metarlhf import files
from metarlhf.envs.base import Spaces
from metarlhf.envs.registry import find
from metarlhf.networks.actor_critic import Agent, build_agent
from metarlhf.networks.config import Cell
from metarlhf.networks.distributions import SquashedGaussian

KIND = "metarlhf agent"


@dataclass(frozen=True)
class AgentShape:
    """What has to be known to read an agent's arrays back."""

    environment: str
    """Where it acts, as `envs.make` or `envs.connect` knows it."""
    hidden: tuple[int, ...]
    context_size: int = 0
    learns_context: bool = False
    memory: Cell | None = None
    memory_size: int = 64
    normalise_obs: bool = False
    squash: bool = False
    shared_torso: bool = False

    @staticmethod
    def of(agent: Agent, environment: str) -> "AgentShape":
        """That of an agent which acts in `environment`."""
        body, network = agent.actor.body, agent.actor.network
        memory = body.memory
        outputs = network.biases[-1]
        squashed = agent.actor.log_std is not None and isinstance(
            agent.actor.head.make(outputs, agent.actor.log_std), SquashedGaussian
        )
        return AgentShape(
            environment=environment,
            hidden=tuple(bias.shape[-1] for bias in network.biases[:-1]),
            context_size=body.context.shape[-1],
            learns_context=body.learns_context,
            memory=memory.kind if memory else None,
            memory_size=memory.size if memory else 64,
            normalise_obs=body.moments is not None,
            squash=squashed,
            shared_torso=agent.shares_torso,
        )


def publish_agent(folder: Path | str, agent: Agent, environment: str) -> Path:
    """Write `agent`, which acts in `environment`, into `folder`."""
    shape = AgentShape.of(agent, environment)
    return files.publish(Path(folder), agent, {"kind": KIND, "shape": asdict(shape)})


def agent_shape(folder: Path | str) -> AgentShape:
    """Of what shape the agent in `folder` is, and where it acts; no array is read.

    Raises:
        PublishedFileError: there is none, or its description was changed.
    """
    folder = Path(folder)
    return files.shape_in(folder, files.describe(folder, KIND), AgentShape, "agent")


def load_agent(folder: Path | str, spaces: Spaces | None = None) -> Agent:
    """Read an agent that `publish_agent` wrote.

    `spaces` is the environment that it acts in, or anything of the same spaces: needed for
    host simulators, which only their owner can start.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
        UnknownTaskError: its environment is none that `envs.find` knows, and no `spaces` are given.
    """
    folder = Path(folder)
    description = files.describe(folder, KIND)
    shape = files.shape_in(folder, description, AgentShape, "agent")
    spaces = find(shape.environment) if spaces is None else spaces
    like = jax.eval_shape(lambda: _build(shape, spaces))
    return files.read(folder, like, description)


def _build(shape: AgentShape, spaces: Spaces) -> Agent:
    return build_agent(
        jax.random.key(0),
        spaces,
        shape.hidden,
        shape.context_size,
        learns_context=shape.learns_context,
        memory=shape.memory,
        memory_size=shape.memory_size,
        normalise_obs=shape.normalise_obs,
        squash=shape.squash,
        shared_torso=shape.shared_torso,
    )
