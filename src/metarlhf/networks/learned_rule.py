"""A learned optimiser as an Optax transformation, in OPEN's manner (Goldie et al. 2024).

`learned_rule` is OPEN's own, for a whole training, and is meta-trained by evolution (in PPO without
what it is told of dormant units, which stands at average); `learned_descent` is for a few steps,
and is meta-trained through them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray, PyTree

from metarlhf.networks.learned_optimiser import LearnedOptimiser
from metarlhf.networks.optimiser_features import DECAYS, Schedule, see, size, unflatten

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


def learned_rule(
    network: LearnedOptimiser, schedule: Schedule, key: PRNGKeyArray
) -> optax.GradientTransformationExtraArgs:
    """An Optax transformation that moves parameters as `network` says. Differentiable in it.

    The outputs o of a parameter move it by o0 1e-3 exp(1e-3 o1), with noise of standard deviation
    1e-3 o2 for policies (from `key`), less the mean over all parameters. An agent's context and
    moments, which are set and not trained, stay as they are.

    `update` needs the parameters. It takes `dormancy` as `optimiser_features.see` does.
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
