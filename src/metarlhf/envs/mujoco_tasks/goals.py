"""What tasks are drawn from: a task is an array, or a dictionary of arrays, drawn from a key."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# Bounds of the exponents of `multipliers`, and their bases.
SPREAD = 3.0
BASES = {"mass": 1.5, "inertia": 1.5, "friction": 1.5, "damping": 1.3}


def velocity(key: PRNGKeyArray, fastest: float) -> Float[Array, ""]:
    """A speed ahead, U[0, fastest], in m/s."""
    return jax.random.uniform(key, maxval=fastest)


def forward_or_back(key: PRNGKeyArray) -> Float[Array, "2"]:
    """The direction of x, or the opposite."""
    return jnp.array([1.0, 0.0]) * jnp.where(jax.random.bernoulli(key), 1.0, -1.0)


def any_direction(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A unit vector, all as likely."""
    angle = jax.random.uniform(key, maxval=2 * jnp.pi)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def in_square(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A place in U[-3, 3]^2, in m."""
    return jax.random.uniform(key, (2,), minval=-3.0, maxval=3.0)


def in_disc(key: PRNGKeyArray) -> Float[Array, "2"]:
    """A place in the disc of radius 3 m, all as likely."""
    angle_key, radius_key = jax.random.split(key)
    return 3.0 * jnp.sqrt(jax.random.uniform(radius_key)) * any_direction(angle_key)


def multipliers(
    key: PRNGKeyArray, bodies: int, joints: int, shapes: int
) -> dict[str, Float[Array, "..."]]:
    """What a body's masses, inertias, dampings and frictions are multiplied by, each number apart.

    b^U(-3, 3), with b = 1.3 for damping and 1.5 for the others. `bodies` and `shapes` count the
    world's too, as MuJoCo does; `joints` counts degrees of freedom.
    """
    sizes = {
        "mass": (bodies,),
        "inertia": (bodies, 3),
        "damping": (joints,),
        "friction": (shapes, 3),
    }
    keys = jax.random.split(key, len(sizes))
    return {
        name: BASES[name] ** jax.random.uniform(k, size, minval=-SPREAD, maxval=SPREAD)
        for k, (name, size) in zip(keys, sizes.items(), strict=True)
    }
