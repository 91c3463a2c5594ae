"""A small recurrent network that says how each parameter moves: OPEN (Goldie et al. 2024).

All parameters share the network, and each has a memory of its own. What it learned is not a step
size but how to use gradients over a whole training, and where to explore. It is meta-trained by
evolution, see `metarlhf.meta.optimiser_search`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray, PyTree

from metarlhf import files
from metarlhf.networks.optimiser_features import (
    DECAYS,
    NUM_FEATURES,
    Schedule,
    next_momenta,
    places,
    tensor_features,
)

KIND = "metarlhf optimiser"
# Updates are small from the start, whatever the network says.
STEP, EXPONENT = 1e-3, 1e-3


@dataclass(frozen=True)
class OptimiserShape:
    """What has to be known to read an optimiser's arrays back."""

    memory: int = 8
    """Numbers that are remembered of each parameter."""
    hidden: int = 16
    """Units in each of the two layers after that."""


class LearnedOptimiser(eqx.Module):
    """A GRU, two layers with layer normalisation, three outputs: 1,211 weights by default."""

    cell: eqx.nn.GRUCell
    layers: tuple[eqx.nn.Linear, eqx.nn.Linear, eqx.nn.Linear]
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    shape: OptimiserShape = eqx.field(static=True)

    def __init__(self, shape: OptimiserShape = OptimiserShape(), *, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.shape = shape
        self.cell = eqx.nn.GRUCell(NUM_FEATURES, shape.memory, key=keys[0])
        self.layers = (
            eqx.nn.Linear(shape.memory, shape.hidden, key=keys[1]),
            eqx.nn.Linear(shape.hidden, shape.hidden, key=keys[2]),
            eqx.nn.Linear(shape.hidden, 3, key=keys[3]),
        )
        self.norms = (
            eqx.nn.LayerNorm(shape.hidden, eps=1e-6),
            eqx.nn.LayerNorm(shape.hidden, eps=1e-6),
        )

    def __call__(
        self, features: Float[Array, " features"], memory: Float[Array, " memory"]
    ) -> tuple[Float[Array, " 3"], Float[Array, " memory"]]:
        """What it says of one parameter, and what it remembers of it."""
        memory = self.cell(features, memory)
        hidden = memory
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            hidden = jax.nn.relu(norm(layer(hidden)))
        return self.layers[-1](hidden), memory


class LearnedState(NamedTuple):
    """Of each parameter that learns, in the order of leaves; and how many steps were taken."""

    momenta: Float[Array, "parameter 6"]
    memory: Float[Array, "parameter memory"]
    count: Integer[Array, ""]
    key: PRNGKeyArray


def learned_rule(
    network: LearnedOptimiser, schedule: Schedule, key: PRNGKeyArray
) -> optax.GradientTransformationExtraArgs:
    """An Optax transformation that moves parameters as `network` says. Differentiable in it.

    The outputs o of a parameter move it by o0 1e-3 exp(1e-3 o1), with noise of standard deviation
    1e-3 o2 for policies (from `key`), less the mean over all parameters. An agent's context and
    moments, which are set and not trained, stay as they are.

    `update` needs the parameters. It takes, as `dormancy`, how active the units are that
    parameters lead to, in units of their layer's mean, each leaf broadcastable to the parameter;
    without it all count as average.
    """

    def init(params):
        count = sum(p.size for p, at in zip(*_flat(params), strict=True) if at.learns)
        return LearnedState(
            jnp.zeros((count, len(DECAYS))),
            jnp.zeros((count, network.shape.memory)),
            jnp.zeros((), jnp.int32),
            key,
        )

    def update(updates, state, params=None, *, dormancy: PyTree = None, **_: Any):
        if params is None:
            raise ValueError("a learned optimiser looks at the parameters: give update its params")
        leaves, stand = _flat(params)
        learning = [i for i, at in enumerate(stand) if at.learns]
        gradients = jax.tree.leaves(updates)
        active = [jnp.ones(())] * len(leaves) if dormancy is None else jax.tree.leaves(dormancy)

        gradient = jnp.concatenate([gradients[i].ravel() for i in learning])
        momenta = next_momenta(state.momenta, gradient)
        training, batch = schedule.progress(state.count)
        ends, start = {}, 0
        rows = []
        for i in learning:
            ends[i] = slice(start, start := start + leaves[i].size)
            shares = (training, stand[i].layer, batch)
            activity = jnp.broadcast_to(active[i], leaves[i].shape).ravel()
            rows.append(
                tensor_features(
                    leaves[i].ravel(), gradient[ends[i]], momenta[ends[i]], shares, activity
                )
            )
        out, memory = jax.vmap(network)(jnp.concatenate(rows), state.memory)

        key, noise_key = jax.random.split(state.key)
        explores = jnp.concatenate(
            [jnp.full(leaves[i].size, float(stand[i].explores)) for i in learning]
        )
        noise = explores * jax.random.normal(noise_key, explores.shape)
        move = STEP * (out[:, 0] * jnp.exp(EXPONENT * out[:, 1]) + out[:, 2] * noise)
        move -= move.mean()
        moves = [
            -move[ends[i]].reshape(leaf.shape) if i in ends else jnp.zeros_like(leaf)
            for i, leaf in enumerate(leaves)
        ]
        state = LearnedState(momenta, memory, state.count + 1, key)
        return jax.tree.unflatten(jax.tree.structure(updates), moves), state

    return optax.GradientTransformationExtraArgs(init, update)


def _flat(params):
    return jax.tree.leaves(params), places(params)


def publish_optimiser(
    folder: Path | str, network: LearnedOptimiser, about: dict[str, Any] | None = None
) -> Path:
    """Write `network` into `folder`; `about` (configuration, figures) goes into its description."""
    description = {"kind": KIND, "shape": asdict(network.shape), "about": about or {}}
    return files.publish(Path(folder), network, description)


def load_optimiser(folder: Path | str) -> LearnedOptimiser:
    """Read what `publish_optimiser` wrote.

    Raises:
        files.PublishedFileError: there is none, or it is damaged, changed or of another version.
    """
    folder = Path(folder)
    description = files.describe(folder, KIND)
    shape = files.shape_in(folder, description, OptimiserShape, "optimiser")
    like = jax.eval_shape(lambda: LearnedOptimiser(shape, key=jax.random.key(0)))
    return files.read(folder, like, description)
