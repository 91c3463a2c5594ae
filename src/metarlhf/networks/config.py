"""Which recurrent cells there are, for settings that are read without JAX."""

from typing import Literal

Cell = Literal["gru", "lstm"]
"""Of a recurrent policy or value function."""
