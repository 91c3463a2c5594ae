"""A learned drift, and what is meta-learned of how PPO learns on disk: an optimiser or a drift.

The drift is LPO's (Lu et al. 2022): a small network that says what a policy pays for moving. By
mirror learning, any drift that is never negative, and zero with zero slope where old and new policy
agree, keeps the guarantee of policy improvement (proposition 1). PPO's clipping is one such drift;
this one is meta-trained by evolution, see `metarlhf.contrib.search`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf import files
from metarlhf.contrib.learned_optimiser import LearnedOptimiser, OptimiserShape
from metarlhf.errors import PublishedFileError
from metarlhf.networks.layers import orthogonal

NUM_INPUTS = 8
# So much is taken off before what is negative is cut: no slope where the policies agree.
MARGIN = 1e-4


@dataclass(frozen=True)
class DriftShape:
    """What has to be known to read a drift's arrays back."""

    hidden: int = 128
    """Units in its one layer."""


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


# By the kind that a description names: the network, its shape, and what it is called.
NETWORKS = {
    "metarlhf optimiser": (LearnedOptimiser, OptimiserShape, "optimiser"),
    "metarlhf drift": (LearnedDrift, DriftShape, "drift"),
}
# What comes with this library, by name.
SHIPPED = {"shipped:optimiser": Path(__file__).parent / "pretrained" / "optimiser"}


def publish_learned(
    folder: Path | str,
    network: LearnedOptimiser | LearnedDrift,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write `network` into `folder`; `about` (configuration, figures) goes into its description."""
    kind = next(name for name, (made, *_) in NETWORKS.items() if isinstance(network, made))
    description = {"kind": kind, "shape": asdict(network.shape), "about": about or {}}
    return files.publish(Path(folder), network, description)


def learned_folder(name: Path | str) -> Path:
    """The folder that `name` is, or that of what comes with this library: shipped:optimiser.

    Raises:
        PublishedFileError: nothing of this name comes with it.
    """
    if str(name).startswith("shipped:") and str(name) not in SHIPPED:
        raise PublishedFileError(f"there is no {name}: only {', '.join(SHIPPED)}")
    return SHIPPED.get(str(name), Path(name))


def load_learned(folder: Path | str) -> LearnedOptimiser | LearnedDrift:
    """Read what `publish_learned` wrote, or what comes with this library: shipped:optimiser.

    Raises:
        PublishedFileError: there is none, or it is damaged, changed or of another version.
    """
    folder = learned_folder(folder)
    found = files.kind(folder)
    if found is not None and found not in NETWORKS:
        raise PublishedFileError(
            f"{folder} holds a {found}, neither an optimiser nor a drift: `metarlhf search` "
            "makes either"
        )
    kind = found or "metarlhf optimiser"
    description = files.describe(folder, kind)  # which says what is wrong where there is no kind
    network, shape_of, word = NETWORKS[kind]
    shape = files.shape_in(folder, description, shape_of, word)
    like = jax.eval_shape(lambda: network(shape, key=jax.random.key(0)))
    return files.read(folder, like, description)
