"""How many of each person's answers are guesses: what is expected of it, and what answers say.

Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm", for two answers and a model of what the right one is: every annotator guesses a share of
their comparisons, half of which come out wrong.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betainc
from jaxtyping import Array, Float, Integer

ANNOTATORS = 8
"""So many people, by number, have a share of their own; all from the last one on have one."""
EDGES = (0.0, 0.01, 0.03, 0.06, 0.1, 0.16, 0.24, 0.34, 0.46, 0.6, 0.78, 1.0)
"""Where shares of guesses are told apart, closer where few are wrong."""


@dataclass(frozen=True)
class Guesses:
    """What is expected, before any answer, of the share of comparisons that a person guesses."""

    expected: float = 0.1
    """Its mean: a beta distribution."""
    answers: float | None = 2.0
    """How many answers that is worth. None: it is known, and no answer says anything of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.expected < 1:
            raise ValueError(f"expected must be from 0 to below 1, but is {self.expected}")
        if self.answers is not None and not self.answers > 0:
            raise ValueError(f"answers must be above 0, but is {self.answers}")
        if self.answers is not None and not self.expected:
            raise ValueError("expected is 0, of which nothing can be learned: let answers be None")

    def shares(self) -> tuple[Float[np.ndarray, " share"], Float[np.ndarray, " share"]]:
        """Shares that are held possible, and the probability of each; the sum over them is the
        integral over the beta distribution, a cell of `EDGES` at a time.
        """
        if self.answers is None:
            return np.array([self.expected]), np.ones(1)
        edges = np.array(EDGES)
        a, b = self.expected * self.answers, (1.0 - self.expected) * self.answers
        with jax.ensure_compile_time_eval():  # settings, also where answers are being traced
            below = np.asarray(betainc(a, b, jnp.asarray(edges, jnp.float32)))
        return (edges[1:] + edges[:-1]) / 2.0, np.diff(below)


def by_annotator(
    values: Float[Array, "*batch comparison"], annotator: Integer[Array, " comparison"]
) -> Float[Array, "*batch annotator"]:
    """Sums over the comparisons that each person answered."""
    theirs = jnp.minimum(annotator, ANNOTATORS - 1)[:, None] == jnp.arange(ANNOTATORS)
    return values @ theirs.astype(values.dtype)


def of_rows(
    share: Float[Array, "*member annotator"], annotator: Integer[Array, " comparison"]
) -> Float[Array, "*member comparison"]:
    """What each person guesses, for each of the comparisons."""
    return share[..., jnp.minimum(annotator, ANNOTATORS - 1)]


def evidence(
    log_likelihood: Float[Array, "share *member annotator"], mass: Float[np.ndarray, " share"]
) -> Float[Array, "*member annotator"]:
    """Log-probability of what each person said, whichever share they guess."""
    weight = mass.reshape(-1, *[1] * (log_likelihood.ndim - 1))
    return jax.nn.logsumexp(log_likelihood, axis=0, b=weight)
