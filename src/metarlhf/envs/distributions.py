"""What a number is drawn from, in words: `uniform(5,15)`, `log-uniform(0.5,2)`, `choice(1,2,4)`.

So that a family can be named by what varies in it, and be found again by that name.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.errors import VariationError

Kind = Literal["uniform", "log-uniform", "choice"]
USAGE = "expected uniform(LOW,HIGH), log-uniform(LOW,HIGH), choice(A,B,...) or a number"
WORDS = re.compile(r"\s*([a-z-]+)\s*\(([^()]*)\)\s*")


@dataclass(frozen=True)
class Distribution:
    """A distribution over numbers; a single number is a choice of one."""

    kind: Kind
    numbers: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.numbers or not all(map(math.isfinite, self.numbers)):
            raise VariationError(f"{self} is no distribution: {USAGE}, all of them finite")
        if self.kind == "choice":
            return
        if len(self.numbers) != 2 or not self.numbers[0] < self.numbers[1]:
            raise VariationError(f"{self} is no distribution: expected LOW below HIGH, and no more")
        if self.kind == "log-uniform" and self.numbers[0] <= 0:
            raise VariationError(f"{self} is no distribution: expected a LOW above 0")

    def __str__(self) -> str:
        numbers = ",".join(f"{int(x) if x == int(x) else x}" for x in self.numbers)
        fixed = self.kind == "choice" and len(self.numbers) == 1
        return numbers if fixed else f"{self.kind}({numbers})"

    @property
    def varies(self) -> bool:
        """Whether two draws may differ."""
        return min(self.numbers) < max(self.numbers)

    def sample(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """Draw a number."""
        numbers = jnp.asarray(self.numbers)
        if self.kind == "choice":
            return jax.random.choice(key, numbers)
        low, high = numbers
        if self.kind == "uniform":
            return jax.random.uniform(key, minval=low, maxval=high)
        return jnp.exp(jax.random.uniform(key, minval=jnp.log(low), maxval=jnp.log(high)))


def distribution(text: str) -> Distribution:
    """The distribution that `text` says.

    Raises:
        VariationError: none; the message says what was expected.
    """
    words = WORDS.fullmatch(text)
    kind, inside = words.groups() if words else ("choice", text)
    try:
        numbers = tuple(float(number) for number in inside.split(","))
    except ValueError:
        numbers = ()
    if kind not in ("uniform", "log-uniform", "choice") or not numbers:
        raise VariationError(f"{text!r} is no distribution: {USAGE}")
    if not words and len(numbers) > 1:
        raise VariationError(f"{text!r} is no distribution: {USAGE}")
    return Distribution(kind, numbers)  # type: ignore[arg-type]
