"""One loop for all that trains: step, check, tell the callbacks, until done or asked to stop.

What is trained is a `Loop`; whoever iterates it is the library's `train`, a command or a benchmark.
A run directory is a callback (`metarlhf.runs`): it keeps metrics and checkpoints, and shows how far
training is.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import files

State = TypeVar("State")
Metrics = dict[str, Any]


@dataclass(frozen=True)
class Loop(Generic[State]):
    """What is trained, step by step.

    Attributes:
        start: makes the first state; a state that is restored has its structure.
        step: from a state and the number of steps done to the next state and the step's metrics. It
            is pure, or as good as a simulator lets it be: the same state and number give the same
            result, stopped in between or not. `return` among the metrics is an evaluation's.
        total: steps until the budget is spent.
        stop: whether to stop before, seeing the metrics of all steps so far.
        restored: sets up anew what no checkpoint holds, in a state that comes from one, given the
            metrics of the steps before it.
        ready: whether there is anything to do; asked again and again until there is, so it takes a
            moment to say no.
        unit: what a step is called, such as "rounds".
        progress: the metric that tells how far training is where steps do not, and what it gets to.
    """

    start: Callable[[], State]
    step: Callable[[State, int], tuple[State, Metrics]]
    total: int
    stop: Callable[[Sequence[Metrics]], bool] = lambda rows: False
    restored: Callable[[State, Sequence[Metrics]], State] = lambda state, rows: state
    ready: Callable[[State], bool] = lambda state: True
    unit: str = "steps"
    progress: tuple[str, int] | None = None


class Callback:
    """Is told as training goes on. Methods do nothing unless overridden."""

    def after_step(self, done: int, state: Any, metrics: Metrics) -> None:
        """The step number `done`, counted from 1, came to this."""

    def before_wait(self, done: int, state: Any) -> None:
        """Nothing is to be done until somebody answers."""

    def on_divergence(self, done: int, state: Any, error: "DivergedError") -> None:
        """The step after `done` came to no numbers; `state` is the last good one."""


class DivergedError(ArithmeticError):
    """A state, or a return, is not a number any more; the message names what.

    `steps` is how many environment steps it took, where metrics say so.
    """

    def __init__(self, message: str, steps: int | None = None):
        super().__init__(message)
        self.steps = steps


class Stopped(Exception):  # noqa: N818 - no error: it was asked for
    """Training was asked to stop, between two steps."""

    def __init__(self, done: int, state: Any):
        super().__init__(f"stopped after step {done}")
        self.done, self.state = done, state


def iterate(
    loop: Loop[State],
    state: State,
    rows: Sequence[Metrics] = (),
    done: int = 0,
    callbacks: Sequence[Callback] = (),
    stop_requested: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[State, Metrics]]:
    """Train until the budget is spent, or `loop.stop` says so.

    Args:
        loop: what is trained.
        state: where training begins, or goes on from.
        rows: metrics of the steps before, where it goes on.
        done: how many steps those were.
        callbacks: are told after each step, in order.
        stop_requested: whether somebody wants it to end between two steps.

    Yields:
        The state and the metrics after each step. Stop iterating to stop; keep a state to go on
        from it.

    Raises:
        DivergedError: the state or the return is no number any more.
        Stopped: `stop_requested` said so.
    """
    rows = list(rows)
    while done < loop.total and not loop.stop(rows):
        while not (stop_requested() or loop.ready(state)):
            for callback in callbacks:
                callback.before_wait(done, state)
        if stop_requested():
            raise Stopped(done, state)
        before, (state, metrics) = state, loop.step(state, done)
        name = first_nan(state)
        if name is not None or not math.isfinite(metrics.get("return") or 0.0):
            message = f"{name or 'the return'} is not a number"
            error = DivergedError(message, metrics.get("steps"))
            for callback in callbacks:
                callback.on_divergence(done, before, error)
            raise error
        done += 1
        rows.append(metrics)
        for callback in callbacks:
            callback.after_step(done, state, metrics)
        yield state, metrics


def converged(returns: Sequence[float], patience: int, tolerance: float) -> bool:
    """Whether the last evaluations all failed to better what came before.

    Args:
        returns: of all evaluations so far.
        patience: how many of the last are looked at; 0: never converged.
        tolerance: better means by more than this share of the spread between best and worst.
    """
    if not patience or len(returns) <= patience:
        return False
    before, recent = returns[:-patience], returns[-patience:]
    margin = tolerance * (max(returns) - min(returns))
    return max(recent) <= max(before) + margin


def first_nan(state: Any) -> str | None:
    """The name of the first array of `state` that holds a NaN; None if all is well.

    Infinity is no fault: it is what an empty bound or a weight of nothing is written as.
    """
    found = np.asarray(_nans(_numbers(state)))
    if not found.any():
        return None
    names = [
        name
        for name, leaf in zip(files.leaf_names(state), jax.tree.leaves(state), strict=True)
        if _is_float(leaf)
    ]
    return names[int(found.argmax())]


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _numbers(state: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(state) if _is_float(leaf)]


@jax.jit
def _nans(leaves: list[Any]):
    return jnp.stack([jnp.isnan(leaf).any() for leaf in leaves]) if leaves else jnp.zeros(1, bool)
