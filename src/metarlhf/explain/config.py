"""How closely a reward is looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExplainConfig:
    """How closely a reward is looked at."""

    episodes: int = 8
    """Episodes that the agent plays, beside what was seen while it learned."""
    references: int = 8
    """Steps that attributions are counted from, on average."""
    discount: float = 0.99
    """Of future rewards, as far as shaping is to be told from what is wanted."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Features to draw the reward over; the most important ones unless named."""

    def __post_init__(self) -> None:
        for name in ("episodes", "references"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, but is {getattr(self, name)}")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must be from 0 to 1, but is {self.discount}")
