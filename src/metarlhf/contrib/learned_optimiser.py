"""A learned optimiser: a small recurrent network that moves each parameter.

It is OPEN's (Goldie et al. 2024). All parameters share it, and each has a memory of its own. It
sees 19 features of a parameter: its gradient, means of its gradients, and how far training is. What
it learned is not a step size but how to use gradients over a whole training, and where to explore.

As an Optax transformation there are two of it:

- `learned_transformation` is OPEN's own, for a whole training, meta-trained by evolution
  (`metarlhf.contrib.search`). In PPO it is not told of dormant units: all count as average.
- `learned_descent` is for a few inner steps, and is meta-trained by gradients through them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray, PyTree

from metarlhf.networks.actor_critic import Body

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NUM_FEATURES = 1 + 2 * len(DECAYS) + 2 + 4


@dataclass(frozen=True)
class OptimiserShape:
    """What has to be known to read an optimiser's arrays back."""

    memory: int = 8
    """Numbers that are remembered of each parameter."""
    hidden: int = 16
    """Units in each of the two layers after that."""


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

    def silenced(self) -> "LearnedOptimiser":
        """The same, but that its outputs are zero for every parameter; it can learn from there."""
        last = lambda network: (network.layers[-1].weight, network.layers[-1].bias)
        return eqx.tree_at(last, self, replace_fn=jnp.zeros_like)

    def transformation(
        self, updates: int, epochs: int, minibatches: int, key: PRNGKeyArray
    ) -> optax.GradientTransformation:
        """See `learned_transformation`: with this a network is an `UpdateRule` of PPO."""
        return learned_transformation(self, Schedule(updates, epochs, minibatches), key)

    def descent(self, steps: int, step_size: float) -> optax.GradientTransformation:
        """See `learned_descent`: an inner loop's update rule for so many steps."""
        return learned_descent(self, Schedule(updates=steps), step_size)


# Updates are small from the start, whatever the network says.
STEP, EXPONENT = 1e-3, 1e-3
# A root of zero has no derivative.
TINY = 1e-16


class LearnedState(NamedTuple):
    """Of each parameter that learns, in the order of leaves; and how far it is."""

    momenta: Float[Array, "parameter 6"]
    memory: Float[Array, "parameter memory"]
    schedule: optax.ScaleByScheduleState
    """How many steps there were: as with Optax's schedules, those too that were not taken."""
    key: PRNGKeyArray


def learned_transformation(
    network: LearnedOptimiser, schedule: Schedule, key: PRNGKeyArray
) -> optax.GradientTransformationExtraArgs:
    """An Optax transformation that moves parameters as `network` says. Differentiable in it.

    The outputs o of a parameter move it by o0 1e-3 exp(1e-3 o1), with noise of standard deviation
    1e-3 o2 for policies (from `key`), less the mean over all parameters. An agent's context and
    moments, which are set and not trained, stay as they are.

    `update` needs the parameters. It takes `dormancy` as `see` does.
    """

    def init(params):
        begun = optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))
        return LearnedState(*_nothing_seen(network, params), begun, key)

    def update(updates, state, params=None, *, dormancy: PyTree = None, **_: Any):
        _check_given(params)
        count = state.schedule.count
        seen = see(params, updates, state.momenta, schedule.progress(count), dormancy)
        out, memory = jax.vmap(network)(seen.features, state.memory)
        key, noise_key = jax.random.split(state.key)
        noise = seen.explores * jax.random.normal(noise_key, seen.explores.shape)
        move = STEP * (out[:, 0] * jnp.exp(EXPONENT * out[:, 1]) + out[:, 2] * noise)
        moves = unflatten(move.mean() - move, params)
        done = optax.ScaleByScheduleState(count + 1)
        return moves, LearnedState(seen.momenta, memory, done, key)

    return optax.GradientTransformationExtraArgs(init, update)


class DescentState(NamedTuple):
    """Of each parameter that learns, in the order of leaves; and how many steps were taken."""

    momenta: Float[Array, "parameter 6"]
    memory: Float[Array, "parameter memory"]
    count: Integer[Array, ""]


def learned_descent(
    network: LearnedOptimiser, schedule: Schedule, step_size: float
) -> optax.GradientTransformation:
    """Gradient descent that `network` bends. Differentiable in it, and in gradients.

    Its outputs o move a parameter by -step_size (exp(o1) g + o0 rms(g)), where g is the gradient
    and rms its root mean square over the parameter's tensor: with outputs of zero this is plain
    descent. The network sees gradients in units of that, so that all moves scale as gradients do.

    What it sees counts as constant where the move is differentiated (as in Andrychowicz et al.
    2016): logarithms of gradients near zero have slopes without bound.

    `update` needs the parameters.
    """

    def init(params):
        return DescentState(*_nothing_seen(network, params), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        _check_given(params)
        scale = jax.tree.map(lambda g: jnp.sqrt(jnp.mean(g**2) + TINY), updates)
        unit = jax.tree.map(jnp.divide, updates, scale)
        seen = jax.lax.stop_gradient(
            see(params, unit, state.momenta, schedule.progress(state.count))
        )
        out, memory = jax.vmap(network)(seen.features, state.memory)
        added, exponent = (unflatten(out[:, i], params) for i in (0, 1))
        moves = jax.tree.map(
            lambda g, s, o0, o1: -step_size * (jnp.exp(o1) * g + s * o0),
            updates, scale, added, exponent,
        )  # fmt: skip
        return moves, DescentState(seen.momenta, memory, state.count + 1)

    return optax.GradientTransformation(init, update)


def _nothing_seen(network: LearnedOptimiser, params: PyTree) -> tuple[Array, Array]:
    """Momenta and memory before the first step."""
    count = size(params)
    return jnp.zeros((count, len(DECAYS))), jnp.zeros((count, network.shape.memory))


def _check_given(params: PyTree) -> None:
    if params is None:
        raise ValueError("a learned optimiser looks at the parameters: give update its params")
