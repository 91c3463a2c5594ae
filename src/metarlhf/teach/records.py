"""What is put into the store and comes out of it: plain values, frozen.

Clips are kept as safetensors, which hold arrays and nothing that could be run.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from metarlhf.envs.adapters.replays import Replay
from metarlhf.errors import LabelError

Kind = Literal["comparison", "rating"]


@dataclass(frozen=True)
class Clip:
    """A stretch of what an agent did: arrays by name, such as obs and action, a step a row.

    Attributes:
        arrays: what reward models see, and what a true reward is where one is known.
        scene: how a page draws it (`metarlhf.envs.scenes`); of a film, {"film": True} and so on.
        replay: how to see it again, where it is to be filmed (`metarlhf.teach.films`).
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


# Of a clip that is read from outside; a picture of 84 x 84 bytes for 500 steps has 3.5 million.
_LARGEST = 64 * 2**20


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """The arrays in one piece."""
    return save({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})


def unpack(blob: bytes) -> dict[str, np.ndarray]:
    """What `pack` was given.

    Raises:
        LabelError: it is no such piece, has no steps, or arrays of different lengths.
    """
    if len(blob) > _LARGEST:
        raise LabelError(
            f"a clip has {len(blob)} bytes, more than the {_LARGEST} that one may have"
        )
    try:
        arrays = load(blob)
    except (SafetensorError, KeyError, ValueError) as error:  # or of a type that NumPy has not
        raise LabelError(f"a clip is not in the safetensors format: {error}") from error
    steps = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if not {"obs", "action"} <= arrays.keys() or len(steps) != 1 or 0 in steps:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise LabelError(
            f"a clip has the arrays {shapes}; expected obs and action with as many steps each"
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise LabelError(f"{name} of a clip holds a number that is not finite")
    return arrays


def pack_replay(replay: Replay) -> bytes:
    """How to see an episode again, in one piece."""
    numbers = np.array([replay.seed, replay.start], np.int64)
    return save({"actions": np.ascontiguousarray(replay.actions), "seed_and_start": numbers})


def unpack_replay(blob: bytes) -> Replay:
    """What `pack_replay` was given.

    Raises:
        LabelError: it is no such piece.
    """
    try:
        arrays = load(blob)
        actions, (seed, start) = arrays["actions"], arrays["seed_and_start"].tolist()
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LabelError(f"a clip's replay is not in the safetensors format: {error}") from error
    if not actions.ndim or not 0 <= start < len(actions):
        raise LabelError(f"a clip's replay begins with step {start} of {actions.shape} actions")
    return Replay(seed, actions, start)


def digest(blob: bytes) -> str:
    """By which a clip is known."""
    return hashlib.sha256(blob).hexdigest()
