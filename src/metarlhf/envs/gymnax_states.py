"""What of a Gymnax environment's state can be read off what is observed.

A teacher judges clips under tasks that they were not recorded in, and has observations alone. Where
these show all of the state that decides the reward, the simulator itself can be asked again. Nobody
says which component shows what, so it is found out: in sampled steps, a component that always
equals a number of the state shows it, and two that always equal an angle's cosine and sine show
that.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from metarlhf.types import State

CLOSE = 1e-4


class Reading(NamedTuple):
    """Where each number of a state is observed, all numbers of all its leaves in a row."""

    names: tuple[str, ...]
    """Of the components of an observation."""
    places: tuple[tuple[int, ...], ...]
    """Of each number: the component that it is, those of cosine and sine, or none."""

    def state(self, obs: Float[Array, " obs"], like: State) -> State:
        """The state that is seen as `obs`; what is not seen of it is as in `like`."""
        leaves, structure = jax.tree.flatten(like)
        places, found = iter(self.places), []
        for leaf in leaves:
            leaf = jnp.asarray(leaf)
            numbers = [_read(obs, next(places), number) for number in leaf.ravel()]
            found.append(jnp.stack(numbers).reshape(leaf.shape).astype(leaf.dtype))
        return jax.tree.unflatten(structure, found)


def _read(obs: Array, place: tuple[int, ...], otherwise: Any) -> Any:
    if not place:
        return otherwise
    if len(place) == 1:
        return obs[place[0]]
    return jnp.arctan2(obs[place[1]], obs[place[0]])


def reading(states: State, obs: Float[np.ndarray, "step obs"]) -> Reading:
    """What `obs` shows of `states`, whose leaves have a leading dimension `step`."""
    names = [f"obs {i}" for i in range(obs.shape[1])]
    places: list[tuple[int, ...]] = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(states)[0]:
        field = jax.tree_util.keystr(path, simple=True, separator=" ").replace("_", " ")
        numbers = np.asarray(leaf, np.float64).reshape(len(obs), -1)
        for i, number in enumerate(numbers.T):
            name = field if numbers.shape[1] == 1 else f"{field} {i}"
            place = _where(obs, number)
            if len(place) == 1:
                names[place[0]] = name
            elif place:
                names[place[0]], names[place[1]] = f"cos {name}", f"sin {name}"
            places.append(place)
    return Reading(tuple(names), tuple(places))


def _where(obs: np.ndarray, number: np.ndarray) -> tuple[int, ...]:
    """The components that show a number; none for what never changes, which may equal anything."""
    if np.ptp(number) < CLOSE:
        return ()

    def component(values: np.ndarray) -> int | None:
        equal = np.all(
            np.abs(obs - values[:, None]) < CLOSE * (1 + np.abs(values[:, None])), axis=0
        )
        return int(equal.argmax()) if equal.any() else None

    itself = component(number)
    if itself is not None:
        return (itself,)
    cosine, sine = component(np.cos(number)), component(np.sin(number))
    return () if cosine is None or sine is None else (cosine, sine)
