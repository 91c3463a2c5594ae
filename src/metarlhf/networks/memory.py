"""Recurrent memory: a GRU or LSTM cell that a policy or value function carries along."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.networks.mlp import orthogonal
from metarlhf.types import State

Cell = Literal["gru", "lstm"]


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
