"""A prior: all that meta-training leaves behind, as one pytree, and as safetensors and JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from metarlhf import files
from metarlhf.envs.base import TaskFamily
from metarlhf.envs.registry import find, make_family
from metarlhf.errors import WrongFamilyError
from metarlhf.feedback import Library
from metarlhf.networks import Agent, build_agent
from metarlhf.reward import LatentPosterior, LatentReward

KIND = "metarlhf prior"


@dataclass(frozen=True)
class Shape:
    """What has to be known to read a prior's arrays back."""

    family: str
    """Name of the task family, as `envs.make` knows it."""
    hidden: tuple[int, ...]
    """Hidden layers of policy and value function."""
    library: int
    """Clips kept to ask about."""
    particles: int
    """Task variables of the posterior."""
    latent_size: int
    """Numbers in each."""
    num_features: int
    """Features that rewards are made of."""
    reward_hidden: tuple[int, ...]
    """Hidden layers of the reward's networks."""


class Prior(eqx.Module):
    """A meta-learned agent, what is believed about a task at first, and clips to ask about it."""

    agent: Agent
    belief: LatentPosterior
    library: Library
    shape: Shape = eqx.field(static=True)

    @property
    def family(self) -> TaskFamily:
        """The family that this was meta-trained on."""
        return make_family(self.shape.family)

    @property
    def untaught(self) -> Agent:
        """The agent before any answer."""
        return self.agent.with_context(self.belief.context())


def blank(key: PRNGKeyArray, shape: Shape) -> Prior:
    """A prior that knows nothing, of the given shape."""
    family = make_family(shape.family)
    agent_key, model_key = jax.random.split(key)
    agent = build_agent(agent_key, family, shape.hidden, context_size=shape.latent_size)
    model = LatentReward(
        family,
        key=model_key,
        latent_size=shape.latent_size,
        num_features=shape.num_features,
        hidden=shape.reward_hidden,
    )
    particles = jnp.zeros((shape.particles, shape.latent_size))
    library = Library.blank(family, shape.library)
    return Prior(agent, LatentPosterior.prior(model, particles), library, shape)


def publish(prior: Prior, folder: Path | str, about: dict[str, Any] | None = None) -> Path:
    """Write `prior` into `folder`; `about` (configuration, figures) goes into its description."""
    description = {"kind": KIND, "shape": asdict(prior.shape), "about": about or {}}
    return files.publish(Path(folder), prior, description)


def load(folder: Path | str, family: str | None = None) -> Prior:
    """Read a prior that `publish` wrote.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
        WrongFamilyError: it was meta-trained on another family than `family`.
    """
    folder = Path(folder)
    description = files.describe(folder, KIND)
    shape = files.shape_in(folder, description, Shape, "prior")
    check_family(folder, shape.family, family)
    like = jax.eval_shape(lambda: blank(jax.random.key(0), shape))
    return files.read(folder, like, description)


def check_family(folder: Path, found: str, wanted: str | None) -> None:
    """Refuse a prior of the family `found` for tasks of another.

    Raises:
        WrongFamilyError: another family is wanted.
    """
    if wanted is not None and find(wanted).name != found:
        raise WrongFamilyError(
            f"the prior in {folder} was meta-trained on {found!r}, not on {wanted!r}: "
            f"name a task of {found!r}, or meta-train on {wanted!r}"
        )
