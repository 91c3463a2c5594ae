"""How questions are chosen, and how a simulated teacher answers them."""

from dataclasses import dataclass
from typing import Any, Literal

Strategy = Literal["uniform", "disagreement", "entropy", "information-gain"]
"""How questions are chosen: see `metarlhf.feedback.queries`."""


SEGMENT_LENGTH = 50
"""Steps of a clip of a simulator, unless another number is named: as in Lee et al. 2021."""


@dataclass(frozen=True)
class Teacher:
    """How a simulated person answers. The default is an oracle."""

    beta: float = float("inf")
    """Rationality: P(right) = sigmoid(beta * (right - left) / spread). Infinite: never errs."""
    mistake: float = 0.0
    """Probability of a flipped answer."""
    skip: float = 0.0
    """Skip a question if both clips are poor: 0 never, 1 wherever both are below the mean."""
    equal: float = 0.0
    """Call two clips equal if their sums differ by less than this many spreads."""
    myopic: float = 1.0
    """Weight of a step against the one after it: below 1 the end of a clip counts most."""
    levels: int = 10
    """Marks go from 1 to this."""

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0, but is {self.beta}")
        for name in ("mistake", "skip", "myopic"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, but is {getattr(self, name)}")
        if not self.equal >= 0:
            raise ValueError(f"equal must be 0 or more, but is {self.equal}")
        if self.levels < 2:
            raise ValueError(f"levels must be 2 or more, but is {self.levels}")

    @property
    def only_compares(self) -> tuple[str, ...]:
        """What of this teacher is about comparisons alone, and does not show in marks."""
        default = Teacher()
        names = ("beta", "skip", "equal", "myopic")
        return tuple(name for name in names if getattr(self, name) != getattr(default, name))

    def compare(self, key: Any, left: Any, right: Any, scale: Any) -> tuple[Any, Any]:
        """Which of two clips is better, see `metarlhf.feedback.teachers.compare`."""
        from metarlhf.feedback import teachers  # late: settings are read without JAX

        return teachers.compare(self, key, left, right, scale)

    def rate(self, key: Any, segment: Any, bounds: tuple[float, float]) -> Any:
        """A mark from 1 to `levels`, see `metarlhf.feedback.teachers.rate`."""
        from metarlhf.feedback import teachers

        return teachers.rate(self, key, segment, bounds)


TEACHERS: dict[str, Teacher] = {
    "oracle": Teacher(),
    "mistake": Teacher(mistake=0.1),
    "noisy": Teacher(beta=1.0),
    "skip": Teacher(skip=0.1),
    "equal": Teacher(equal=0.1),
    "myopic": Teacher(myopic=0.9),
}
"""B-Pref's six, by the names of its scripts."""
