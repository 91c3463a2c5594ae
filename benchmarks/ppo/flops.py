"""Floating-point operations of PPO's matrix products, and how fast the machine makes them.

A product of m x k by k x n takes 2 m k n. Nothing else is counted: not activations, sampling,
environments, advantages, nor Adam.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarlhf.networks import Agent
from metarlhf.ppo import PPOConfig

Sizes = tuple[int, ...]


class Product(NamedTuple):
    """m x k by k x n."""

    m: int
    k: int
    n: int

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * math.prod(self)


def layer_sizes(agent: Agent) -> tuple[Sizes, Sizes]:
    """Widths of policy and value function, from what they are given to what they say."""
    networks = (agent.actor.network, agent.critic.network)
    sizes = [(*(w.shape[0] for w in net.weights), net.weights[-1].shape[1]) for net in networks]
    return sizes[0], sizes[1]


def forward(sizes: Sizes, rows: int) -> list[Product]:
    """A batch of `rows` through all layers."""
    return [Product(rows, above, below) for above, below in pairwise(sizes)]


def backward(sizes: Sizes, rows: int) -> list[Product]:
    """For each layer a product for the weights' gradient and, but for the first, one for that of
    what it was given: twice the forward pass, less what nobody asks for.
    """
    layers = list(pairwise(sizes))
    weights = [Product(above, rows, below) for above, below in layers]
    return weights + [Product(rows, below, above) for above, below in layers[1:]]


def gradient_step_flops(networks: Sequence[Sizes], rows: int) -> int:
    """Forward and backward, on a minibatch of `rows`."""
    products = [forward(sizes, rows) + backward(sizes, rows) for sizes in networks]
    return sum(product.flops for one in products for product in one)


def iteration_flops(networks: Sequence[Sizes], config: PPOConfig) -> int:
    """One update with its rollout: every step judged once, then `epochs` passes of gradient steps.

    Our code also asks for the value of what follows every step, of which the algorithm needs only
    those where episodes are cut short: not counted.
    """
    judged = sum(p.flops for sizes in networks for p in forward(sizes, config.batch_size))
    rows = config.batch_size // config.minibatches
    learnt = config.epochs * config.minibatches * gradient_step_flops(networks, rows)
    return judged + learnt


def chain(networks: Sequence[Sizes], rows: int, steps: int) -> tuple[Callable, tuple]:
    """A compiled program of `steps` gradient steps on `rows` that has next to nothing but the
    products of PPO's, and its arguments.

    The networks are linear and without biases, and their loss is half the sum of squares of what
    they say, whose gradient is that itself. Each step begins with the weights the last one left, so
    that no product can be left out or moved out of the loop.
    """
    keys = jax.random.split(jax.random.key(0), len(networks))
    start = tuple(weights_of(key, sizes) for key, sizes in zip(keys, networks, strict=True))
    inputs = [jax.random.normal(key, (rows, s[0])) for key, s in zip(keys, networks, strict=True)]

    def run(weights, inputs):
        step = lambda weights, _: (linear_step(weights, inputs), None)
        return jax.lax.scan(step, weights, length=steps)[0]

    return jax.jit(run), (start, inputs)


def linear_step(weights, inputs):
    """One gradient step of linear networks, too short for their weights to grow or vanish."""

    def loss(weights):
        outputs = [
            functools.reduce(jnp.matmul, own, x) for x, own in zip(inputs, weights, strict=True)
        ]
        return sum(0.5 * jnp.sum(out**2) for out in outputs)

    return jax.tree.map(lambda w, g: w - 1e-7 * g, weights, jax.grad(loss)(weights))


def weights_of(key: jax.Array, sizes: Sizes) -> tuple[jax.Array, ...]:
    """Matrices that neither blow up what goes through them nor let it vanish."""
    keys = jax.random.split(key, len(sizes) - 1)
    layers = zip(keys, pairwise(sizes), strict=True)
    return tuple(jax.random.normal(key, layer) / layer[0] ** 0.5 for key, layer in layers)


def seconds(function: Callable, *arguments: object) -> float:
    """Wall-clock time of one call."""
    begin = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - begin
