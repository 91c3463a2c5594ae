"""What is put into the store and comes out of it: plain values, frozen."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from metarlhf.envs.replays import Replay

Kind = Literal["comparison", "rating"]


@dataclass(frozen=True)
class Clip:
    """A stretch of what an agent did: arrays by name, such as obs and action, a step a row.

    Attributes:
        arrays: what reward models see, and what a true reward is where one is known.
        scene: how a page draws it (`metarlhf.envs.scenes`); of a film, {"film": True} and so on.
        replay: how to see it again, where it is to be filmed (`metarlhf.labels.filming`).
        source: "agent", "library" (the prior's), "demonstration", or "now" (shown, never asked).
        round: how many rounds had been before it was made.
    """

    arrays: dict[str, np.ndarray]
    scene: dict[str, Any] | None = None
    source: str = "agent"
    round: int = 0
    replay: Replay | None = None


@dataclass(frozen=True)
class Origin:
    """Where a clip comes from, and how it is seen again: both as `Clip` has them."""

    source: str = "agent"
    replay: Replay | None = None


@dataclass(frozen=True)
class NewQuestion:
    """A question to be put: which of two clips is better, or what mark one deserves.

    Attributes:
        first, second: as the loop has them; a rating has no second.
        predicted: what the reward model gives to "the second is better" before it is asked.
        gain: what the answer is expected to tell, in nats; the most telling are asked first.
        overlap: how many people it is for.
        round: how many rounds had been.
    """

    first: Clip
    second: Clip | None = None
    predicted: float | None = None
    gain: float = 0.0
    overlap: int = 1
    round: int = 0

    @property
    def kind(self) -> Kind:
        """What is asked."""
        return "comparison" if self.second is not None else "rating"


@dataclass(frozen=True)
class Question:
    """A question as it is shown. `swapped` says that the loop's second clip is on the left."""

    id: int
    kind: Kind
    left: int
    right: int | None
    swapped: bool
    predicted: float | None
    round: int

    @property
    def shown(self) -> list[int]:
        """Its clips from left to right; a rating has one."""
        return [self.left] if self.right is None else [self.left, self.right]

    @property
    def clips(self) -> list[int]:
        """Its clips in the loop's order."""
        return self.shown[::-1] if self.swapped else self.shown


@dataclass(frozen=True)
class Answer:
    """An answer that stands.

    Attributes:
        preference: 0 for the loop's first clip, 1 for its second, 0.5 for equal; None for a
            rating or a skipped question.
        mark, levels: of a rating, one of 1 to `levels`.
        skipped: "can't tell".
        seconds: how long it took.
        given_at: when, in seconds since 1970 (UTC).
    """

    id: int
    question: Question
    annotator: str
    preference: float | None
    mark: int | None
    levels: int | None
    skipped: bool
    seconds: float
    given_at: float

    @property
    def foreseen(self) -> bool | None:
        """Whether the model had expected it; None where one was not better, or nobody guessed."""
        if self.preference not in (0.0, 1.0) or self.question.predicted is None:
            return None
        return (self.question.predicted > 0.5) == (self.preference == 1.0)


@dataclass(frozen=True)
class Correction:
    """A step of a clip that a person called bad."""

    id: int
    clip: int
    step: int
    annotator: str
    given_at: float


@dataclass(frozen=True)
class Lease:
    """A question that one person has for a while."""

    question: Question
    until: float
    clips: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    """Each clip's scene, by its number."""
