"""Means and interquartile means over few seeds and tasks, with bootstrap confidence intervals."""

from typing import Any, NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def mean_interval(
    values: Any,
    *,
    shared_tasks: bool = False,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Mean of `values` with a percentile interval from a hierarchical bootstrap.

    Results from one seed resemble each other, so seeds are drawn first, with replacement, and then
    tasks within each drawn seed. Taking all results as independent would give an interval that is
    too narrow (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
    By hand, as `scipy.stats.bootstrap` draws neither tasks within seeds nor tasks that seeds share.

    With very few seeds even this interval is somewhat narrow; with one it says nothing about seeds.

    Args:
        values: shape [seeds] or [seeds, tasks].
        shared_tasks: column j is the same task for every seed. Tasks are then drawn once for all
            seeds of a resample, as their difficulty does not average out over seeds.
        level: how often the interval should hold the true mean.
        resamples: number of bootstrap samples.
        seed: of the bootstrap itself; the same values and seed give the same interval.

    Raises:
        ValueError: `values` is empty, has another shape, or holds a number that is not finite.
    """
    array = _checked(values, "mean_interval", "[seeds] or [seeds, tasks]")
    num_seeds, num_tasks = array.shape
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    # In parts, so that memory stays small whatever the number of tasks.
    part = max(1, 2_000_000 // array.size)
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        seeds = rng.integers(num_seeds, size=(count, num_seeds, 1))
        drawn = (count, 1 if shared_tasks else num_seeds, num_tasks)
        tasks = rng.integers(num_tasks, size=drawn)
        means[start : start + count] = array[seeds, tasks].mean(axis=(1, 2))
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(array.mean()), float(low), float(high))


def interquartile_mean(
    values: Any, *, level: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> Interval:
    """The mean of the middle half of all values, with a stratified bootstrap interval.

    As robust to a failed seed as the median, and surer with few seeds (Agarwal et al. 2021, "Deep
    Reinforcement Learning at the Edge of the Statistical Precipice"; the library rliable). Runs are
    drawn with replacement for each task by itself.

    Args:
        values: shape [runs] or [runs, tasks]; with several tasks normalise them first.
        level: how often the interval should hold the true value.
        resamples: number of bootstrap samples.
        seed: of the bootstrap itself.

    Raises:
        ValueError: `values` is empty, has another shape, or holds a number that is not finite.
    """
    array = _checked(values, "interquartile_mean", "[runs] or [runs, tasks]")
    # Imported here: it takes as long as JAX does.
    from scipy.stats import bootstrap, trim_mean

    def middle_half(*tasks: np.ndarray, axis: int = -1) -> Any:
        return trim_mean(np.concatenate(tasks, axis), 0.25, axis)

    mean = float(middle_half(*array.T))
    if len(array) == 1:  # There is nothing to draw from, which SciPy refuses.
        return Interval(mean, mean, mean)
    found = bootstrap(
        tuple(array.T), middle_half, n_resamples=resamples, confidence_level=level,
        method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Interval(mean, *map(float, found.confidence_interval))


def _checked(values: Any, name: str, shape: str) -> np.ndarray:
    """As [first, second], the second of length 1 where there was none."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} got shape {np.shape(values)}, expected {shape}, not empty.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} got {int((~np.isfinite(array)).sum())} numbers that are not finite; "
            "decide what a failed run counts as before averaging."
        )
    return array
