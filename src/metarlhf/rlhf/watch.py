"""Watching for over-optimisation: whether people like what the learned reward likes.

The longer a policy is trained on a learned reward, the more it lives by the reward's errors: what
is learned to be paid goes on rising, and what was wanted falls (Gao et al. 2023, "Scaling laws for
reward model overoptimization"). Nobody can see that without asking. So now and then a few fresh
comparisons are made of the newest policy with the best one so far.
"""

from dataclasses import dataclass, fields

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf.envs.base import TaskFamily
from metarlhf.feedback.teachers import Scale, Teacher
from metarlhf.networks import Agent
from metarlhf.reward import Belief
from metarlhf.rollout import play_episodes
from metarlhf.types import Comparison, Segment, Task


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


class Watch(eqx.Module):
    """What was seen so far."""

    best: Agent
    """The policy that people liked best, and its value function."""
    checks: Integer[Array, ""]
    """Made so far."""
    lost: Integer[Array, ""]
    """Checks in a row in which reward and answers parted."""
    halted: Bool[Array, ""]
    """Nothing more is learned."""
    asked: Integer[Array, ""]
    """Answers given."""
    liked: Float[Array, ""]
    """How often the last check's newest policy was liked better; a half before the first."""
    foreseen: Float[Array, ""]
    """How often the reward said it would be."""

    @staticmethod
    def over(agent: Agent) -> "Watch":
        """Nothing seen yet but `agent`."""
        zero, half = jnp.zeros((), jnp.int32), jnp.full((), 0.5, jnp.float32)
        return Watch(agent, zero, zero, jnp.zeros((), bool), zero, half, half)

    @property
    def parted(self) -> Bool[Array, ""]:
        """Whether the last check's answers were against what the reward said."""
        return (self.liked < 0.5) & (self.foreseen > 0.5)

    def seen(self, agent: Agent, said: Comparison, belief: Belief, config: WatchConfig) -> "Watch":
        """After a check of `agent`, whose episodes are the right ones of those compared."""
        given = jnp.maximum(said.weight.sum(), 1.0)
        mean = lambda x: jnp.where(said.weight.any(), jnp.sum(x * said.weight) / given, 0.5)
        liked, foreseen = mean(said.preference), mean(expected(belief, said))
        new = Watch(
            best=jax.tree.map(lambda a, b: jnp.where(liked < 0.5, b, a), agent, self.best),
            checks=self.checks + 1,
            lost=self.lost,
            halted=self.halted,
            asked=self.asked,
            liked=liked,
            foreseen=foreseen,
        )
        lost = jnp.where(new.parted, self.lost + 1, 0)
        halted = self.halted | ((lost >= config.patience) & (not config.asks))
        new = eqx.tree_at(lambda w: (w.lost, w.halted), new, (lost, halted))
        return new.charged(said, config)

    def charged(self, said: Comparison, config: WatchConfig) -> "Watch":
        """Some answers more were given; practice halts where there are too few left for a check."""
        asked = self.asked + said.weight.sum().astype(jnp.int32)
        spent = asked + config.most > config.budget
        return eqx.tree_at(lambda w: (w.asked, w.halted), self, (asked, self.halted | spent))


def expected(belief: Belief, said: Comparison) -> Float[Array, " question"]:
    """Probability that the right one is preferred, as the belief has it."""
    left, right = belief.clip_sums(said.left), belief.clip_sums(said.right)
    return belief.weight @ jax.nn.sigmoid(belief.sharpness * (right - left))


def episodes(
    key: PRNGKeyArray, family: TaskFamily, task: Task, best: Agent, newest: Agent, count: int
) -> tuple[Segment, Segment]:
    """Whole episodes of both policies' modes."""

    def played(key, agent):
        found = play_episodes(key, family, task, agent.actor, count, deterministic=True)
        return Segment(found.obs, found.action, found.task_reward)

    best_key, newest_key = jax.random.split(key)
    return played(best_key, best), played(newest_key, newest)


def clips(key: PRNGKeyArray, left: Segment, right: Segment, length: int) -> tuple[Segment, Segment]:
    """One clip of each episode, in both at the same times, which are spread over the episodes."""
    count, horizon = left.task_reward.shape
    within = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    starts = jnp.floor(within * (horizon - length + 1)).astype(int)
    cut = lambda x, begin: jax.lax.dynamic_slice_in_dim(x, begin, length)
    one = lambda episode, begin: jax.tree.map(lambda x: cut(x, begin), episode)
    return jax.vmap(one)(left, starts), jax.vmap(one)(right, starts)


def compare(key: PRNGKeyArray, left: Segment, right: Segment, teacher: Teacher) -> Comparison:
    """What a simulated person says to these, who is used to what they see here."""
    both = jnp.concatenate([left.task_reward, right.task_reward])
    said = teacher.compare(key, left.task_reward, right.task_reward, Scale.of(both))
    return Comparison(left, right, *said)
