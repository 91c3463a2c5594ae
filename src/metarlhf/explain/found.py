"""What an explanation consists of: plain values, with the units they are in."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from metarlhf.explain.additive import Additive
from metarlhf.explain.answers import Answered, Calibration
from metarlhf.explain.following import Follows
from metarlhf.explain.rewards import Feature


class Importance(NamedTuple):
    """How much each feature counts for one reward."""

    gradients: Float[np.ndarray, " feature"]
    """Share of all that integrated gradients attribute; they sum to 1."""
    permutation: Float[np.ndarray, " feature"]
    """Share of the reward's variance that goes wrong without the feature."""


class Episode(NamedTuple):
    """What each step of an episode is paid, and for what."""

    obs: Float[np.ndarray, "time obs"]
    reward: Float[np.ndarray, " time"]
    """In standard deviations over what was seen, from the mean of the reference steps."""
    parts: Float[np.ndarray, "time feature"]
    """In the same unit; each row sums to the reward."""


class Completeness(NamedTuple):
    """How exactly attributions add up, see `attribution.Attribution`."""

    error: float
    largest: float


class Map(NamedTuple):
    """Rewards over two features [y, x], not a number where nothing was seen."""

    features: tuple[Feature, Feature]
    extent: tuple[float, float, float, float]
    """Lowest and highest x, lowest and highest y, in the features' units."""
    rewards: dict[str, np.ndarray]
    """By "before", "after" and, where there is one, "true"; each in its standard deviations."""
    spread: dict[str, np.ndarray]
    """How far the belief's members disagree, "before" and "after", in the same unit."""
    density: np.ndarray
    """How often a place was seen, 1 at most."""
    forbidden: np.ndarray | None = None
    """How likely a step is one that must never be, where somebody marked such."""


class Distance(NamedTuple):
    """Between two rewards, see `metarlhf.explain.distances`."""

    one: str
    other: str
    epic: float
    dard: float


class Explanation(NamedTuple):
    """All of it. Rewards are "before" and "after" the answers, and "true"."""

    family: str
    features: tuple[Feature, ...]
    seen: int
    """Steps that all this is about."""
    importance: dict[str, Importance]
    """Of rewards in terms of what may vary by itself: nothing for a feature that follows."""
    follows: list[Follows]
    """Features that follow from others."""
    completeness: Completeness
    episode: Episode
    maps: list[Map]
    additive: Additive
    distances: list[Distance]
    answers: list[Answered]
    calibration: Calibration | None
    """None where no comparison was answered."""
    wrong: dict[str, float]
    """Share of each person's comparisons that is believed to be wrong, by name; empty where nobody
    has one, or every answer is taken at its word."""
