"""From what is observed to a vector: images by convolutions, dictionaries part by part."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.spaces import Box, Image, ObservationSpace
from metarlhf.networks.mlp import orthogonal
from metarlhf.types import Observation

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
