"""What can be chosen in RLHF."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from metarlhf.feedback.queries import Strategy
from metarlhf.feedback.teachers import Teacher
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf.constraints import NeverConfig
from metarlhf.rlhf.watch import WatchConfig


@dataclass(frozen=True)
class RLHFConfig:
    """Rounds of: collect, ask, adapt the reward, PPO."""

    labels: int = 10
    """Answers that the person gives in all."""
    feedback: Literal["comparisons", "ratings"] = "comparisons"
    """Which of two clips is better, or a mark for one."""
    rounds: int = 5
    """Rounds of asking and learning; each asks labels / rounds questions, rounded up, until all
    answers are given."""
    strategy: Strategy = "information-gain"
    """How questions are chosen."""
    candidates: int = 500
    """Questions considered for each one asked."""
    ask_envs: int = 4
    """Episodes a round to ask about, beside the library, by an agent that came with a prior."""
    remembered_rounds: int = 1
    """Clips of so many rounds, the last ones, may be asked about."""
    updates: int = 0
    """PPO updates on the learned reward in a round."""
    final_updates: int = 0
    """PPO updates after the last answer."""
    pessimism: float = 0.0
    """How many standard deviations of what the reward's members think are taken off what they think
    on average, so that a policy keeps away from what they disagree about."""
    clip_reward: bool = False
    """No step is paid more, or less, than the steps of clips that were judged."""
    leash: float = 0.0
    """How far the policy is to stray from a reference, in nats a step (the KL divergence); what it
    costs adapts. The reference is what an agent with a prior does when it is told what is believed;
    without one, what the agent did when the last answers came in. 0: as far as it likes."""
    watch: WatchConfig = field(default_factory=WatchConfig)
    """Fresh answers after the last regular one, to tell whether more practice does more harm than
    good, and to stop it."""
    never: NeverConfig = field(default_factory=NeverConfig)
    """What must never be, as somebody marks it in clips."""
    teacher: Teacher = field(default_factory=Teacher)
    """Who answers, when it is not a person."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """How the policy learns; its budget of steps follows from the updates above."""

    def __post_init__(self) -> None:
        if self.labels < 0:
            raise ValueError(f"labels must be 0 or more, but is {self.labels}")
        for name in ("rounds", "candidates", "remembered_rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but is {getattr(self, name)}")
        for name in ("pessimism", "leash"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be 0 or more, and finite, but is {getattr(self, name)}"
                )
        if self.feedback == "ratings" and self.teacher.only_compares:
            raise ValueError(
                f"teacher.{self.teacher.only_compares[0]} is about comparisons and changes no "
                "mark: with ratings a teacher has mistake and levels"
            )
        if self.ppo.total_steps != PPOConfig.total_steps:
            raise ValueError(
                f"ppo.total_steps is {self.ppo.total_steps}, but in RLHF steps follow from rounds, "
                "updates and final_updates: say those instead"
            )
        for name in ("ask_envs", "updates", "final_updates"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, but is {getattr(self, name)}")
        practised = self.final_updates if self.watch.every else self.updates + self.final_updates
        if self.held_by and not practised:
            raise ValueError(
                f"{self.held_by} is about practice by PPO, of which there is none: say "
                "final_updates, too, such as 20"
            )
        if self.watch.every and self.final_updates % self.watch.every:
            raise ValueError(
                f"final_updates is {self.final_updates}, which is no multiple of watch.every = "
                f"{self.watch.every}: the last updates would not be looked at"
            )

    @property
    def held_by(self) -> str | None:
        """The first option that is asked for of those that hold or watch practice by PPO."""
        asked = {
            "watch.every": self.watch.every > 0,
            "leash": self.leash > 0,
            "never.clips": self.never.clips > 0,
        }
        return next((name for name, wanted in asked.items() if wanted), None)

    @property
    def checks(self) -> int:
        """How often fresh answers are asked for after the last regular one."""
        return self.final_updates // self.watch.every if self.watch.every else 0

    @property
    def learning(self) -> PPOConfig:
        """`ppo`, with the budget that follows from the rounds."""
        updates = self.rounds * self.updates + self.final_updates
        return replace(self.ppo, total_steps=max(1, updates) * self.ppo.batch_size)

    @property
    def labels_per_round(self) -> int:
        """Answers in a round, rounded up; the budget is never exceeded."""
        return -(-self.labels // self.rounds)
