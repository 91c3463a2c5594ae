"""Settings of RL², of evolution strategies, and of imitating Adam."""

from dataclasses import dataclass, field
from typing import Literal

from metarlhf.ppo.config import PPOConfig


@dataclass(frozen=True)
class RL2Config:
    """Meta-learn a policy that remembers across the episodes of one task."""

    episodes: int = 2
    """Episodes of a trial: as many as it has to learn a task, and to do well in it."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            total_steps=2_000_000, num_envs=64, num_steps=200, memory="gru", memory_size=64
        )
    )
    """How it is trained. The discount goes on from one episode of a trial to the next; memories are
    learned over at most num_steps, so that these should be a whole trial."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"episodes must be at least 1, but is {self.episodes}")
        if self.ppo.memory is None:
            raise ValueError(
                "rl2 learns a task by remembering it: choose memory gru or lstm in ppo"
            )


@dataclass(frozen=True)
class EvolutionConfig:
    """OpenAI's evolution strategy; the numbers are OPEN's."""

    population: int = 64
    """Candidates in a generation, in pairs."""
    sigma: float = 0.03
    """Standard deviation of what sets candidates apart from the mean."""
    lr: float = 0.03
    """Adam's step size."""
    decay: float = 0.999
    """What both are multiplied by after each generation."""
    shaping: Literal["rank", "z-score"] = "rank"
    """What counts of a measure: its rank in the generation, or its distance from the mean."""

    def __post_init__(self) -> None:
        if self.population < 2 or self.population % 2:
            raise ValueError(f"population must be even and positive, but is {self.population}")
        for name in ("sigma", "lr", "decay"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, but is {getattr(self, name)}")


@dataclass(frozen=True)
class ImitationConfig:
    """How much is recorded, and how long it is studied."""

    tasks: int = 6
    """Trainings recorded of each family."""
    parameters: int = 96
    """Parameters whose whole training is recorded, of each agent."""
    steps: int = 600
    """Gradient steps of the regression."""
    batch: int = 128
    """Parameters in one of them."""
    lr: float = 3e-3
    """Adam's step size at the start; it falls to nothing."""

    def __post_init__(self) -> None:
        for name in ("tasks", "parameters", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"imitation.{name} must be at least 1, but is {getattr(self, name)}"
                )
        if self.steps < 0:
            raise ValueError(f"imitation.steps must be 0 or more, but is {self.steps}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"imitation.lr must be above 0 and finite, but is {self.lr}")
