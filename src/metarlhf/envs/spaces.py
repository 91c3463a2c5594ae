"""What can be observed and what can be done: plain values that networks are built from."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

Bound = float | tuple[float, ...]


class Box(NamedTuple):
    """Continuous vectors. `low` and `high` bound all `size` components, or each has its own."""

    size: int
    low: Bound
    high: Bound
    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    """Of each component, empty for a pure number; all are without them."""
    reach: float = 1.0
    """Of actions: policies act in [-reach, reach]."""

    def from_unit(self, action: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Policies act in [-1, 1]; simulators in their own units. Values outside are clipped."""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        unit = jnp.clip(action / self.reach, -1.0, 1.0)
        return low + 0.5 * (unit + 1.0) * (high - low)

    def __str__(self) -> str:
        low, high = (_range(bound) for bound in (self.low, self.high))
        return f"Box({self.size}) in [{low}, {high}]"


class Discrete(NamedTuple):
    """One of `size` actions, numbered from 0."""

    size: int
    names: tuple[str, ...]

    def from_unit(self, action: Integer[Array, "*batch"]) -> Integer[Array, "*batch"]:
        """Discrete actions have no units."""
        return action

    def __str__(self) -> str:
        return f"Discrete({self.size})"


class MultiDiscrete(NamedTuple):
    """Several choices at once, the i-th among `sizes[i]`: a vector of whole numbers."""

    sizes: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """Options of all choices together."""
        return sum(self.sizes)

    def from_unit(self, action: Integer[Array, "*batch parts"]) -> Integer[Array, "*batch parts"]:
        """Discrete actions have no units."""
        return action

    def __str__(self) -> str:
        return f"MultiDiscrete({', '.join(map(str, self.sizes))})"


class MultiBinary(NamedTuple):
    """`size` switches, each 0 or 1."""

    size: int
    names: tuple[str, ...]

    def from_unit(self, action: Integer[Array, "*batch size"]) -> Integer[Array, "*batch size"]:
        """Switches have no units."""
        return action

    def __str__(self) -> str:
        return f"MultiBinary({self.size})"


class Image(NamedTuple):
    """Pictures of shape (height, width, channels), kept as they come: bytes stay bytes."""

    shape: tuple[int, int, int]
    dtype: str = "uint8"

    def __str__(self) -> str:
        return f"Image({' x '.join(map(str, self.shape))}, {self.dtype})"


class Parts(NamedTuple):
    """A dictionary of observations; `spaces[i]` is what is seen as `names[i]`."""

    names: tuple[str, ...]
    spaces: tuple["ObservationSpace", ...]

    def __str__(self) -> str:
        parts = zip(self.names, self.spaces, strict=True)
        return "{" + ", ".join(f"{name}: {space}" for name, space in parts) + "}"


ObservationSpace = Box | Image | Parts
ActionSpace = Box | Discrete | MultiDiscrete | MultiBinary


def _range(bound: Bound) -> str:
    if isinstance(bound, tuple):
        least, most = min(bound), max(bound)
        return f"{least:g}" if least == most else f"{least:g}..{most:g}"
    return f"{bound:g}"
