"""Optax on our modules: the two calls that everything which learns is made of.

Optax types its parameters as dictionaries and arrays. Here they are Equinox modules, as which they
come in and go out.
"""

from typing import Any, TypeVar, cast

import optax
from jaxtyping import PyTree

Params = TypeVar("Params")


def begin(optimiser: optax.GradientTransformation, params: PyTree) -> optax.OptState:
    """The optimiser's state before the first step."""
    return optimiser.init(cast(Any, params))


def step(
    optimiser: optax.GradientTransformation,
    gradient: PyTree,
    state: optax.OptState,
    params: Params,
) -> tuple[Params, optax.OptState]:
    """Move `params` by one update, and the optimiser's state with them. Pure."""
    updates, state = optimiser.update(gradient, state, cast(Any, params))
    return cast(Params, optax.apply_updates(cast(Any, params), updates)), state
