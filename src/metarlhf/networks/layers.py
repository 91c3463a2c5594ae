"""What networks are made of below their hidden layers: orthogonal weights, memory, encoders.

- `Memory`, a GRU or LSTM cell that a policy or value function carries along.
- `Moments`, the running mean and variance of what is observed, which normalises observations.
- Encoders from what is observed to a vector: images by convolutions, dictionaries part by part.
"""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from metarlhf.envs.spaces import Box, Image, ObservationSpace
from metarlhf.networks.config import Cell
from metarlhf.types import Observation, State

# A singular value of a hundred-thousandth of the largest still gets to 1.
POLAR_ITERATIONS = 40


def orthogonal(key: PRNGKeyArray, fan_in: int, fan_out: int) -> Float[Array, "fan_in fan_out"]:
    """A uniformly random matrix with orthonormal columns, or rows where those are fewer.

    The orthogonal factor of a normal matrix, by Newton's iteration for the polar decomposition: it
    takes nothing but products. Many QR decompositions in one compiled program, as a batch of fresh
    agents needs, can hang XLA's CPU runtime: each waits on the thread pool that it runs in.
    """
    x = jax.random.normal(key, (max(fan_in, fan_out), min(fan_in, fan_out)))
    # Every singular value in (0, sqrt(3)) goes to 1; small ones grow by a half in each iteration.
    x = x / jnp.linalg.norm(x)
    step = lambda _, x: 1.5 * x - 0.5 * x @ (x.T @ x)
    x = jax.lax.fori_loop(0, POLAR_ITERATIONS, step, x)
    return x if fan_in >= fan_out else x.T


class Memory(eqx.Module):
    """A cell over any batch. Weights start orthogonal, biases at zero (Huang et al. 2022)."""

    cell: eqx.nn.GRUCell | eqx.nn.LSTMCell
    size: int = eqx.field(static=True)
    kind: Cell = eqx.field(static=True)

    def __init__(self, kind: Cell, inputs: int, size: int, *, key: PRNGKeyArray):
        make = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}[kind]
        cell = make(inputs, size, key=key)

        def start(leaf: Array, key: PRNGKeyArray) -> Array:
            if leaf.ndim < 2:
                return jnp.zeros_like(leaf)
            gates = jax.random.split(key, leaf.shape[0] // size)
            return jnp.concatenate([orthogonal(gate, size, leaf.shape[1]) for gate in gates])

        leaves, structure = jax.tree.flatten(cell)
        keys = jax.random.split(key, len(leaves))
        self.cell = jax.tree.unflatten(structure, map(start, leaves, keys))
        self.size, self.kind = size, kind

    def initial_state(self) -> State:
        """Zeros, for one sequence."""
        blank = jnp.zeros(self.size)
        return (blank, blank) if isinstance(self.cell, eqx.nn.LSTMCell) else blank

    def __call__(
        self, x: Float[Array, "*batch inputs"], state: State
    ) -> tuple[Float[Array, "*batch size"], State]:
        cell = self.cell
        for _ in range(x.ndim - 1):
            cell = jax.vmap(cell)
        state = cell(x, state)
        return (state[0] if isinstance(state, tuple) else state), state


class Moments(eqx.Module):
    """Of each number in a vector, over all that was seen; images have none and pass as they are."""

    count: Float[Array, ""]
    mean_variance: PyTree[Float[Array, "2 ..."]]
    """For each vector of an observation its mean and, below it, its variance; None for images."""

    @staticmethod
    def of(like: Observation) -> "Moments":
        """Nothing seen yet: mean 0 and variance 1, for observations like this one."""
        is_vector = lambda x: x.ndim < 2 and jnp.issubdtype(x.dtype, jnp.floating)
        blank = lambda x: jnp.stack([jnp.zeros_like(x), jnp.ones_like(x)]) if is_vector(x) else None
        return Moments(jnp.zeros((), jnp.float32), jax.tree.map(blank, like))

    def update(self, obs: Observation) -> "Moments":
        """With a batch more, of any leading dimensions: Chan, Golub and LeVeque 1983, eq. 1.5."""
        added = [
            x.size / old[0].size
            for old, x in zip(_leaves(self.mean_variance), jax.tree.leaves(obs), strict=True)
            if old is not None
        ]
        new = added[0] if added else 0.0
        total = self.count + new

        def one(old, x):
            if old is None:
                return None
            x = x.reshape(-1, *old.shape[1:])
            delta = x.mean(0) - old[0]
            spread = old[1] * self.count + x.var(0) * new + delta**2 * self.count * new / total
            return jnp.stack([old[0] + delta * new / total, spread / total])

        return Moments(total, _map(one, self.mean_variance, obs))

    def normalise(self, obs: Observation, most: float = 10.0) -> Observation:
        """To mean 0 and standard deviation 1, clipped to +-`most`. No gradient passes."""

        def one(old, x):
            if old is None:
                return x
            scaled = (x - old[0]) / jnp.sqrt(old[1] + 1e-8)
            return jax.lax.stop_gradient(jnp.clip(scaled, -most, most))

        return _map(one, self.mean_variance, obs)


def _is_none(x) -> bool:
    return x is None


def _map(function, moments, obs):
    return jax.tree.map(function, moments, obs, is_leaf=_is_none)


def _leaves(moments):
    return jax.tree.leaves(moments, is_leaf=_is_none)


# Width of kernel, stride, channels. Large pictures as in Mnih et al. 2015; small ones, such as
# MinAtar's ten by ten, as in Young and Tian 2019.
LARGE = ((8, 4, 32), (4, 2, 64), (3, 1, 64))
SMALL = ((3, 1, 16),)


@runtime_checkable
class Encoder(Protocol):
    """Leading dimensions are free."""

    def __call__(self, obs: Observation) -> Float[Array, "*batch features"]:
        """What the network after it is given."""
        ...


class Vector(eqx.Module):
    """Vectors go in as they are."""

    def __call__(self, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch obs"]:
        return obs


class Convolutions(eqx.Module):
    """Convolutions and ReLU, then flat. Bytes are scaled to [0, 1] here, not before: they are kept
    as they came, a quarter of the memory.
    """

    kernels: tuple[Float[Array, "height width inputs outputs"], ...]
    biases: tuple[Float[Array, " outputs"], ...]
    strides: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, space: Image, *, key: PRNGKeyArray):
        layers = LARGE if min(space.shape[:2]) >= 36 else SMALL
        kernels, channels = [], space.shape[2]
        for own, (width, _, outputs) in zip(
            jax.random.split(key, len(layers)), layers, strict=True
        ):
            flat = 2.0**0.5 * orthogonal(own, width * width * channels, outputs)
            kernels.append(flat.reshape(width, width, channels, outputs))
            channels = outputs
        self.kernels = tuple(kernels)
        self.biases = tuple(jnp.zeros(outputs) for *_, outputs in layers)
        self.strides = tuple(stride for _, stride, _ in layers)

    def __call__(
        self, obs: Shaped[Array, "*batch height width channels"]
    ) -> Float[Array, "*batch features"]:
        batch = obs.shape[:-3]
        x = obs.reshape(-1, *obs.shape[-3:])
        x = x.astype(jnp.float32) / (255.0 if obs.dtype == jnp.uint8 else 1.0)
        for kernel, bias, stride in zip(self.kernels, self.biases, self.strides, strict=True):
            x = jax.nn.relu(convolve(x, kernel, stride) + bias)
        return x.reshape(*batch, -1)


def convolve(
    x: Float[Array, "picture height width inputs"],
    kernel: Float[Array, "high wide inputs outputs"],
    stride: int,
) -> Float[Array, "picture rows columns outputs"]:
    """A convolution without padding, as a product of all patches with the kernel.

    On a CPU, XLA's own convolution takes eight times as long within a loop, which is where all
    learning happens.
    """
    high, wide, inputs, outputs = kernel.shape
    rows = (x.shape[1] - high) // stride + 1
    columns = (x.shape[2] - wide) // stride + 1
    patches = [
        x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
        for i in range(high)
        for j in range(wide)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(high * wide * inputs, outputs)


class Together(eqx.Module):
    """Each part of a dictionary by an encoder of its own, one after the other."""

    names: tuple[str, ...] = eqx.field(static=True)
    encoders: tuple[Encoder, ...]

    def __call__(self, obs: dict[str, Observation]) -> Float[Array, "*batch features"]:
        parts = zip(self.names, self.encoders, strict=True)
        return jnp.concatenate([encode(obs[name]) for name, encode in parts], axis=-1)


def encoder_of(space: ObservationSpace, *, key: PRNGKeyArray) -> Encoder:
    """An untrained encoder of what is observed in `space`."""
    if isinstance(space, Box):
        return Vector()
    if isinstance(space, Image):
        return Convolutions(space, key=key)
    keys = jax.random.split(key, len(space.spaces))
    encoders = [encoder_of(part, key=own) for part, own in zip(space.spaces, keys, strict=True)]
    return Together(space.names, tuple(encoders))


def example(space: ObservationSpace) -> Observation:
    """A blank observation: its shape and type."""
    if isinstance(space, Box):
        return jnp.zeros(space.size)
    if isinstance(space, Image):
        return jnp.zeros(space.shape, space.dtype)
    return {name: example(part) for name, part in zip(space.names, space.spaces, strict=True)}
