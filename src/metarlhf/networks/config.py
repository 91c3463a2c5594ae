"""How large networks are, and of what kind: what their arrays cannot be read back without."""

from dataclasses import dataclass
from typing import Literal

Cell = Literal["gru", "lstm"]
"""Of a recurrent policy or value function."""


@dataclass(frozen=True)
class DriftShape:
    """What has to be known to read a drift's arrays back."""

    hidden: int = 128
    """Units in its one layer."""


@dataclass(frozen=True)
class OptimiserShape:
    """What has to be known to read an optimiser's arrays back."""

    memory: int = 8
    """Numbers that are remembered of each parameter."""
    hidden: int = 16
    """Units in each of the two layers after that."""
