"""What can be chosen in RLHF."""

from dataclasses import dataclass, field
from typing import Literal

from metarlhf.feedback.queries import Strategy
from metarlhf.feedback.teachers import Teacher
from metarlhf.ppo import PPOConfig


@dataclass(frozen=True)
class RLHFConfig:
    """Rounds of: collect, ask, adapt the reward, PPO."""

    labels: int = 10
    """Answers that the person gives in all."""
    feedback: Literal["comparisons", "ratings"] = "comparisons"
    """Which of two clips is better, or a mark for one."""
    rounds: int = 5
    """The answers are spread evenly over so many rounds."""
    strategy: Strategy = "information-gain"
    """How questions are chosen."""
    candidates: int = 500
    """Questions considered for each one asked."""
    ask_envs: int = 4
    """Episodes collected in a round, to ask about."""
    updates: int = 0
    """PPO updates on the learned reward in a round."""
    final_updates: int = 0
    """PPO updates after the last answer."""
    teacher: Teacher = field(default_factory=Teacher)
    """Who answers, when it is not a person."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """How the policy learns."""

    def __post_init__(self) -> None:
        if self.labels < 0:
            raise ValueError(f"labels must be 0 or more, but is {self.labels}")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, but is {self.rounds}")

    @property
    def labels_per_round(self) -> int:
        """Answers in a round, rounded up; the budget is never exceeded."""
        return -(-self.labels // self.rounds)

    def steps(self, horizon: int) -> int:
        """Environment steps of the whole run."""
        updates = self.rounds * self.updates + self.final_updates
        return self.rounds * self.ask_envs * horizon + updates * self.ppo.batch_size
