"""Settings of RLHF, of limits on what must never be, of watching it, and of cloning."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from metarlhf.feedback.config import Strategy, Teacher
from metarlhf.ppo.config import PPOConfig
from metarlhf.reward.config import CostConfig


@dataclass(frozen=True)
class WatchConfig:
    """When fresh answers are asked for after the last regular one, and what they decide.

    The rule: in each check a person compares whole episodes of the newest policy with such of the
    best so far. Liked at least as often, the newest is the best from there on. If it is not, though
    the reward said it would be, reward and answers have parted, and practice halts; or else
    (`asks`) whenever it is not, a few comparisons of clips of both are asked for, the reward learns
    from them, and practice goes on from the best. In the end the best is kept.
    """

    every: int = 0
    """Updates between two checks after the last regular answer; 0: nothing is watched."""
    episodes: int = 1
    """Pairs of whole episodes that are compared in a check: more where chance decides much."""
    patience: int = 1
    """Halt when so many checks in a row found that they parted."""
    asks: bool = False
    """Do not halt, but ask again, and go on from the best."""
    answers: int = 2
    """Pairs of clips that are asked about then."""
    budget: int = 20
    """Answers of both kinds in all, beside the regular ones. With the last of them practice ends:
    what nobody can look at is not done."""

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ValueError(f"watch.every must be 0 or more, but is {self.every}")
        for name in ("episodes", "patience", "answers"):
            if getattr(self, name) < 1:
                raise ValueError(f"watch.{name} must be at least 1, but is {getattr(self, name)}")
        idle = [entry.name for entry in fields(self) if getattr(self, entry.name) != entry.default]
        if idle and not self.every:
            raise ValueError(
                f"watch.{idle[0]} is about checks, of which there are none: say watch.every too, "
                "such as 2"
            )
        if self.budget < self.most:
            raise ValueError(
                f"watch.budget is {self.budget}, but one check takes up to {self.most} answers"
            )

    @property
    def most(self) -> int:
        """Answers that a check takes, at most."""
        return self.episodes + self.asks * self.answers


@dataclass(frozen=True)
class NeverConfig:
    """What must never be: how it is learned, and how far it is held."""

    clips: int = 0
    """Clips that a person looks over in all, marking each step that must never be; 0: nobody does,
    and nothing is held."""
    limit: float = 0.005
    """Share of the policy's steps that may be such, as the model has it: their cost is the
    probability of a mark, and the mean cost of a step is held at or below this."""
    model: CostConfig = field(default_factory=CostConfig)
    """How marks are learned from."""

    def __post_init__(self) -> None:
        if self.clips < 0:
            raise ValueError(f"never.clips must be 0 or more, but is {self.clips}")
        if not 0 < self.limit < 1:
            raise ValueError(f"never.limit is a share, above 0 and below 1, but is {self.limit}")
        if not self.clips and (self.limit, self.model) != (type(self).limit, CostConfig()):
            raise ValueError(
                "never.limit and never.model are about what somebody marks, but never.clips is 0: "
                "nobody looks anything over, and nothing would be held. Say never.clips, such as "
                "200, too"
            )


@dataclass(frozen=True)
class CloningConfig:
    """How a policy is fitted to demonstrations."""

    steps: int = 300
    """Gradient steps."""
    lr: float = 1e-3
    """Adam's step size."""
    minibatch: int = 64
    """Demonstrated steps in each."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.minibatch < 1 or not self.lr > 0:
            raise ValueError(
                f"steps must be 0 or more, minibatch 1 or more and lr above 0, but are {self.steps}"
                f", {self.minibatch} and {self.lr}"
            )


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
