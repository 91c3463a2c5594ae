"""A small network that says what a policy pays for moving: LPO's drift (Lu et al. 2022).

Mirror learning: any drift that is nowhere negative, and nothing, with no slope, where old and new
policy agree, keeps the promise that policy improvement makes (proposition 1). PPO's clipping is one
such; this one is meta-trained by evolution, see `metarlhf.contrib.search`.

What can be meta-learned of how PPO learns: the optimiser, or the drift. Both on disk.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import files
from metarlhf.errors import PublishedFileError
from metarlhf.networks.config import DriftShape, OptimiserShape
from metarlhf.networks.layers import orthogonal
from metarlhf.networks.learned_optimiser import LearnedOptimiser

NUM_INPUTS = 8
# So much is taken off before what is negative is cut: no slope where the policies agree.
MARGIN = 1e-4


class LearnedDrift(eqx.Module):
    """PPO's own drift and what a network adds to it: 1,152 weights by default, no biases."""

    weight: Float[Array, "inputs hidden"]
    last: Float[Array, " hidden"]
    shape: DriftShape = eqx.field(static=True)

    def __init__(self, shape: DriftShape = DriftShape(), *, key: PRNGKeyArray):
        """The last layer begins small: PPO's clipping, or nearly."""
        keys = jax.random.split(key)
        self.shape = shape
        self.weight = 2.0**0.5 * orthogonal(keys[0], NUM_INPUTS, shape.hidden)
        self.last = 0.01 * orthogonal(keys[1], shape.hidden, 1)[:, 0]

    def __call__(
        self, log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
    ) -> Float[Array, "*batch"]:
        """relu(relu((r - clip(r)) A) + f - 1e-4), f seeing log r, its square, 1 - r, its square,
        and A times each: Lu et al. 2022, section 5.2.
        """
        ratio = jnp.exp(log_ratio)
        moved = jnp.stack([log_ratio, log_ratio**2, 1.0 - ratio, (1.0 - ratio) ** 2], axis=-1)
        seen = jnp.concatenate([moved, advantage[..., None] * moved], axis=-1)
        learned = jnp.tanh(seen @ self.weight) @ self.last
        beyond = ratio - jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
        return jax.nn.relu(jax.nn.relu(beyond * advantage) + learned - MARGIN)


Learned = LearnedOptimiser | LearnedDrift


class Kind(NamedTuple):
    """How one of them is made and named."""

    network: type[LearnedOptimiser] | type[LearnedDrift]
    shape: Callable[..., Any]
    word: str


KINDS = {
    "metarlhf optimiser": Kind(LearnedOptimiser, OptimiserShape, "optimiser"),
    "metarlhf drift": Kind(LearnedDrift, DriftShape, "drift"),
}


# What comes with this program, by name.
SHIPPED = {"shipped:optimiser": Path(__file__).parent / "pretrained" / "optimiser"}


def publish_learned(
    folder: Path | str, network: Learned, about: dict[str, Any] | None = None
) -> Path:
    """Write `network` into `folder`; `about` (configuration, figures) goes into its description."""
    kind = next(name for name, kind in KINDS.items() if isinstance(network, kind.network))
    description = {"kind": kind, "shape": asdict(network.shape), "about": about or {}}
    return files.publish(Path(folder), network, description)


def learned_folder(name: Path | str) -> Path:
    """Where what is called `name` is: a folder, unless it comes with this program.

    Raises:
        PublishedFileError: it says that it does, and does not.
    """
    if str(name).startswith("shipped:") and str(name) not in SHIPPED:
        raise PublishedFileError(f"there is no {name}: only {', '.join(SHIPPED)}")
    return SHIPPED.get(str(name), Path(name))


def load_learned(folder: Path | str) -> Learned:
    """Read what `publish_learned` wrote, or what comes with this program: shipped:optimiser.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
    """
    folder = learned_folder(folder)
    found = files.kind(folder)
    if found is not None and found not in KINDS:
        raise PublishedFileError(
            f"{folder} holds a {found}, neither an optimiser nor a drift: `metarlhf search` "
            "makes either"
        )
    kind = found or "metarlhf optimiser"
    description = files.describe(folder, kind)  # which says what is wrong where there is no kind
    network, shape_of, word = KINDS[kind]
    shape = files.shape_in(folder, description, shape_of, word)
    like = jax.eval_shape(lambda: network(shape, key=jax.random.key(0)))
    return files.read(folder, like, description)
