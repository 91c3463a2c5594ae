"""What a report is made of: numbers that fit in JSON, and arrays that drawings are made from.

"Normalised return" is 0 for an untrained policy and 1 for PPO with the true reward on the same
task, its budget spent and its step size annealed to nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from metarlhf.envs.base import TaskFamily
from metarlhf.types import Task

# NumPy's or JAX's.
Array = Any


class Interval(TypedDict):
    """A mean over tasks and seeds, and the ends of its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class _Band(TypedDict):
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class Curve(_Band, total=False):
    """Normalised return after so many answers (`labels`) or environment steps (`steps`)."""

    labels: Sequence[float]
    steps: Sequence[float]


# The functional form, as one key is a word of Python.
MetaTraining = TypedDict(
    "MetaTraining",
    {
        "iteration": Sequence[float],
        # What the adapted policies of meta-training tasks earn.
        "return": Sequence[float | None],
        # Share of hard comparisons that the adapted reward model answers as the teacher does.
        "accuracy_hard": Sequence[float | None],
    },
    total=False,
)


class _Required(TypedDict):
    family: str
    # In words: what differs from task to task.
    varies: str
    # Answers given for each task.
    labels: int
    # "comparisons" or "ratings".
    feedback: str
    num_tasks: int
    normalised_return: Interval


class FamilyResult(_Required, total=False):
    """What was measured on one family's held-out tasks. None, or a key left out: not measured."""

    # What being taught gained, as shares of the same way as `normalised_return`.
    gain: Interval | None
    # Returns in the family's own units, means over tasks.
    untrained_return: float | None
    oracle_return: float | None
    # Standard deviation of untrained returns over tasks, whether the oracle gains less than it, and
    # in how many tasks it gains nothing.
    untrained_spread: float
    oracle_hardly_learns: bool
    oracle_gains_nothing_in: int
    # How many times as much learning from scratch needs; `at_least`: it never got there.
    scratch_labels_ratio: float | None
    scratch_labels_at_least: bool
    scratch_steps_ratio: float | None
    scratch_steps_at_least: bool
    # How many of the tasks were learned from scratch, and what was to be reached on them.
    scratch_tasks: int
    scratch_target: float
    # Seconds and environment steps of adapting to one task, seconds of meta-training.
    seconds: float | None
    steps: float | None
    meta_seconds: float | None
    # The normalised return that was asked for.
    must: float | None
    by_labels: Curve | None
    scratch_by_labels: Curve | None
    prior_by_steps: Curve | None
    scratch_by_steps: Curve | None
    meta_training: MetaTraining | None
    # Normalised return of every held-out task.
    per_task: Sequence[float] | None


class Results(TypedDict):
    """What a command measured, family by family."""

    command: str
    seed: int
    seconds: float
    versions: Mapping[str, str]
    families: Sequence[FamilyResult]


class Start(TypedDict):
    """What plain gradient steps come to from elsewhere, in tasks and steps those of the prior."""

    returns: Sequence[Interval]
    shares: Sequence[Interval]
    # How much more meta-learning returns in the same tasks.
    behind: Sequence[Interval]
    # The best of some, on validation tasks: one for each prior.
    step_sizes: Sequence[float]


class StepsResult(TypedDict):
    """What gradient steps on the tasks' own reward come to, on held-out tasks of one family.

    Lists have an entry for each number of steps, from none. Shares are of what PPO gains over all
    tasks.
    """

    command: str
    seed: int
    total_seconds: float
    versions: Mapping[str, str]
    family: str
    varies: str
    num_tasks: int
    # Of as many seeds, and as many of each other start.
    num_priors: int
    # What one gradient step learns from.
    episodes_of_a_step: int
    environment_steps_of_a_step: int
    meta_training_steps: int
    returns: Sequence[Interval]
    shares: Sequence[Interval]
    # random, and where it was measured pretrained (see `metarlhf.experiments.references`).
    starts: Mapping[str, Start]
    # Of the return, by one step and more.
    gains: Sequence[Interval]
    untrained_return: float
    untrained_spread: float
    oracle_return: float
    oracle_hardly_learns: bool
    # The oracle's budget.
    oracle_steps: int
    # Of adapting to one task.
    seconds: float
    # Share after all steps, the mean over priors.
    per_task: Sequence[float]


class Question(NamedTuple):
    """Two clips, and which a teacher prefers: 0 for left, 1 for right, 0.5 for equal."""

    left: Array
    """Observations, shape [length, obs]."""
    right: Array
    preference: float


class Mark(NamedTuple):
    """One clip and the mark it was given."""

    clip: Array
    """Observations, shape [length, obs]."""
    value: float


class RewardMaps(NamedTuple):
    """The reward over two of a family's observations, the others held still."""

    true: Array
    """Shape [y, x]."""
    learned: Array
    """Shape [y, x], in units of its own: a reward model is known up to shift and scale."""
    extent: tuple[float, float, float, float]
    """Lowest and highest x, lowest and highest y."""
    names: tuple[str, str]
    """Of x and y."""


class Example(NamedTuple):
    """One held-out task before and after it was taught."""

    task: Task
    before: Array
    """Observations of an episode, shape [time, obs]."""
    after: Array
    number: int | None = None
    """Which of `per_task` it is, from 0."""
    questions: Sequence[Question | Mark] = ()
    maps: RewardMaps | None = None


class FamilyPictures(NamedTuple):
    """What to draw of a family, and the family itself, which knows how."""

    family: TaskFamily
    examples: Sequence[Example]


Pictures = Mapping[str, FamilyPictures]
"""By the families' names, as in the results; a family may be missing."""


CURVES = {
    "by_labels": "labels",
    "scratch_by_labels": "labels",
    "prior_by_steps": "steps",
    "scratch_by_steps": "steps",
}
"""Which curves a family's result may have, and over what."""

FINITE = ("normalised_return", "per_task", "scratch_labels_ratio", "scratch_steps_ratio")


def checked(results: Results) -> Results:
    """The results as they are.

    Raises:
        ValueError: there is no family, a required figure is missing, a curve's lists differ in
            length, or a number is not finite.
    """
    missing = Results.__required_keys__ - set(results)
    if missing or not results["families"]:
        raise ValueError(
            f"results lack {', '.join(sorted(missing)) or 'families'}; "
            "a report needs every key of `Results` and at least one family"
        )
    for family in results["families"]:
        name = family.get("family", "a family without a name")
        missing = _Required.__required_keys__ - set(family)
        if missing:
            raise ValueError(f"the results of {name} lack {', '.join(sorted(missing))}")
        for key, resource in CURVES.items():
            _check_curve(f"{key} of {name}", family.get(key), resource)
        for key in FINITE:
            _check_finite(f"{key} of {name}", family.get(key))
    return results


def _check_curve(what: str, curve: Mapping[str, Any] | None, resource: str) -> None:
    if not curve:
        return
    lengths = {key: len(curve.get(key, ())) for key in (resource, "mean", "low", "high")}
    if 0 in lengths.values() or len(set(lengths.values())) > 1:
        raise ValueError(f"{what} needs lists of one length, not empty, but has {lengths}")
    _check_finite(what, curve)


def _check_finite(what: str, value: Any) -> None:
    lists = value.values() if isinstance(value, Mapping) else [[] if value is None else value]
    if not all(np.isfinite(np.asarray(numbers, float)).all() for numbers in lists):
        raise ValueError(
            f"{what} holds a number that is not finite; leave out what was not measured, and "
            "decide what a failed run counts as before averaging"
        )
