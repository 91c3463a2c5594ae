"""What a learned optimiser is told of each parameter: 19 features (OPEN, Goldie et al. 2024)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from metarlhf.networks.body import Body

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NUM_FEATURES = 1 + 2 * len(DECAYS) + 2 + 4
# Parts of an agent that are set, and never trained; a context may be, see `Body`.
SET = (".moments", ".context")


@dataclass(frozen=True)
class Schedule:
    """How many steps an optimiser will take: it is told how far along it is."""

    updates: int
    """Times that data are collected."""
    epochs: int = 1
    """Passes over what was collected."""
    minibatches: int = 1
    """Steps in each pass."""

    def progress(self, count: Integer[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """After `count` steps, the shares of updates, and of this update's passes, from 0 to 1."""
        passes = count // self.minibatches
        training = (passes // self.epochs) / max(1, self.updates - 1)
        batch = (passes % self.epochs) / max(1, self.epochs - 1)
        return jnp.minimum(training, 1.0), batch


class Place(NamedTuple):
    """Where a tensor stands."""

    learns: bool
    """Whether it is trained at all."""
    explores: bool
    """Whether it may be given noise: policies may, value functions not."""
    layer: float
    """How deep in its network: 0 what is seen, 1 what comes out."""


def places(params: PyTree) -> list[Place]:
    """Where each tensor of `params` stands, in the order of its leaves.

    Layers are the items of the sequence that holds them. What is in no sequence belongs to the
    output, but an agent's body to the input.
    """
    is_body = lambda x: isinstance(x, Body)
    bodies = [body for body in jax.tree.leaves(params, is_leaf=is_body) if is_body(body)]
    are_set = SET[:1] if any(body.learns_context for body in bodies) else SET
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    names = [jax.tree_util.keystr(path) for path in paths]
    layers = [_layer(path) for path in paths]
    last = {}
    for parent, index in layers:
        last[parent] = max(index, last.get(parent, 0))
    found = []
    for name, (parent, index) in zip(names, layers, strict=True):
        depth = 0.0 if ".body" in name else 1.0
        if parent is not None and last[parent]:
            depth = index / last[parent]
        found.append(Place(not any(s in name for s in are_set), ".critic" not in name, depth))
    return found


def _layer(path) -> tuple[str | None, int]:
    """Which sequence a leaf is in, and where."""
    for depth in reversed(range(len(path))):
        if isinstance(path[depth], jax.tree_util.SequenceKey):
            return jax.tree_util.keystr(path[:depth]), path[depth].idx
    return None, 0


def next_momenta(
    momenta: Float[Array, "parameter 6"], gradient: Float[Array, " parameter"]
) -> Float[Array, "parameter 6"]:
    """Exponential means of the gradient, over six spans of time."""
    decays = jnp.asarray(DECAYS)
    return decays * momenta + (1.0 - decays) * gradient[:, None]


def tensor_features(
    parameter: Float[Array, " parameter"],
    gradient: Float[Array, " parameter"],
    momenta: Float[Array, "parameter 6"],
    shares: tuple[Float[Array, ""] | float, ...],
    dormancy: Float[Array, " parameter"],
) -> Float[Array, "parameter 19"]:
    """The features of one tensor's parameters.

    The parameter; signs of the momenta, and logarithms of their sizes; the same of the gradient:
    each divided by its root mean square over the tensor. As they are: the `shares` of training,
    layer and passes, and the dormancy.
    """
    signs_and_sizes = lambda x: (jnp.sign(x), jnp.log(jnp.abs(x) + 1e-13))
    own = jnp.concatenate(
        [parameter[:, None], *signs_and_sizes(momenta), *signs_and_sizes(gradient[:, None])], axis=1
    )
    own *= jax.lax.rsqrt(1e-5 + jnp.mean(own**2, axis=0))
    shared = jnp.broadcast_to(jnp.stack([jnp.asarray(s, float) for s in shares]), (len(own), 3))
    return jnp.concatenate([own, shared, dormancy[:, None]], axis=1)


class Sight(NamedTuple):
    """What a learned optimiser sees in a step, of all parameters that learn, in order of leaves."""

    features: Float[Array, "parameter 19"]
    momenta: Float[Array, "parameter 6"]
    explores: Float[Array, " parameter"]
    """1 where there may be noise, else 0."""


def size(params: PyTree) -> int:
    """How many parameters learn."""
    leaves = jax.tree.leaves(params)
    return sum(p.size for p, at in zip(leaves, places(params), strict=True) if at.learns)


def see(
    params: PyTree,
    gradient: PyTree,
    momenta: Float[Array, "parameter 6"],
    progress: tuple[Float[Array, ""], Float[Array, ""]],
    dormancy: PyTree = None,
) -> Sight:
    """What there is to see after `gradient`; `momenta` are those before it.

    `progress` is what a `Schedule` says. `dormancy` says how active the units are that parameters
    lead to, in units of their layer's mean, each leaf broadcastable to the parameter's; without it
    all count as average.
    """
    leaves, gradients = jax.tree.leaves(params), jax.tree.leaves(gradient)
    active = [jnp.ones(())] * len(leaves) if dormancy is None else jax.tree.leaves(dormancy)
    training, batch = progress
    features, new, explores, start = [], [], [], 0
    for i, at in enumerate(places(params)):
        if not at.learns:
            continue
        leaf, flat = leaves[i], gradients[i].ravel()
        own = next_momenta(momenta[start : start + leaf.size], flat)
        activity = jnp.broadcast_to(active[i], leaf.shape).ravel()
        shares = (training, at.layer, batch)
        features.append(tensor_features(leaf.ravel(), flat, own, shares, activity))
        new.append(own)
        explores.append(jnp.full(leaf.size, float(at.explores)))
        start += leaf.size
    return Sight(*map(jnp.concatenate, (features, new, explores)))


def flatten(tree: PyTree) -> Float[Array, " parameter"]:
    """The numbers of all parameters that learn, in the order of leaves."""
    leaves = zip(jax.tree.leaves(tree), places(tree), strict=True)
    return jnp.concatenate([leaf.ravel() for leaf, at in leaves if at.learns])


def unflatten(flat: Float[Array, " parameter"], params: PyTree) -> PyTree:
    """One number for each parameter that learns as a pytree like `params`, zeros for the rest."""
    found, start = [], 0
    leaves = jax.tree.leaves(params)
    for leaf, at in zip(leaves, places(params), strict=True):
        if at.learns:
            found.append(flat[start : start + leaf.size].reshape(leaf.shape))
            start += leaf.size
        else:
            found.append(jnp.zeros_like(leaf))
    return jax.tree.unflatten(jax.tree.structure(params), found)
