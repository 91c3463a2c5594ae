"""Watching for over-optimisation: whether people like what the learned reward likes.

The longer a policy is trained on a learned reward, the more it lives by the reward's errors: what
is learned to be paid goes on rising, and what was wanted falls (Gao et al. 2023, "Scaling laws for
reward model overoptimization"). Nobody can see that without asking. So now and then a few fresh
comparisons are made of the newest policy with the best one so far.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from metarlhf.feedback.config import Teacher
from metarlhf.feedback.teachers import Scale
from metarlhf.networks import Agent
from metarlhf.reward import Belief
from metarlhf.rlhf.config import WatchConfig
from metarlhf.sampling import Sampler
from metarlhf.types import Comparison, Segment


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
    key: PRNGKeyArray, sampler: Sampler, best: Agent, newest: Agent, count: int
) -> tuple[Segment, Segment]:
    """Whole episodes of both policies' modes."""

    def played(key, agent):
        found = sampler.episodes(key, agent.actor, count, deterministic=True)
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
