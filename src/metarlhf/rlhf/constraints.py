"""A limit on a second signal, a cost, held by what it is charged.

Never this: clips are looked over for what must never be, and the policy is held to it.

A leash: what a policy is paid less for each step that a reference policy would hardly take.

A learned reward is known where the reference went. The further a policy is from there, the less the
reward is worth, and the further it can be led astray.
"""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import Shown
from metarlhf.feedback import blank
from metarlhf.feedback.clips import among
from metarlhf.networks import Actor
from metarlhf.reward.cost import CostModel, Marks
from metarlhf.rlhf.config import NeverConfig
from metarlhf.types import Segment, Task, Trajectory

# Dear at first, while a policy still tries things: one that has settled on the way through finds no
# way round any more.
MULTIPLIER_START = 10.0
# How much dearer cost gets in an update in which there is twice as much as the limit, or more.
MULTIPLIER_RATE = 1.0
# It gets cheaper more slowly: a limit that is just held would soon be broken again.
CHEAPER = 0.1


class Multiplier(eqx.Module):
    """The Lagrangian of `maximise reward while the mean cost of a step is at most a limit`.

    A step that costs c is paid r - m c, by one value function for both (Tessler et al. 2019,
    "Reward constrained policy optimization"; Ray et al. 2019, "Benchmarking safe exploration in
    deep reinforcement learning", have one for each, whose difference is the same). The multiplier m
    climbs by the gradient, the cost beyond the limit, in units of the limit, and is never negative.
    """

    value: Float[Array, ""]

    @staticmethod
    def start() -> "Multiplier":
        """What a step costs is charged `MULTIPLIER_START` times."""
        return Multiplier(jnp.full((), MULTIPLIER_START, jnp.float32))

    def pay(
        self,
        trajectory: Trajectory,
        cost: Float[Array, "*batch time"],
        limit: float | Float[Array, ""],
    ) -> tuple[Trajectory, "Multiplier"]:
        """What is left of the reward where steps cost so much, and the multiplier after that.

        What is paid is shared out (divided by 1 + m), so that it stays of one size.
        """
        paid = (trajectory.reward - self.value * cost) / (1.0 + self.value)
        beyond = jnp.clip(cost.mean() / limit - 1.0, -CHEAPER / MULTIPLIER_RATE, 1.0)
        value = jnp.maximum(self.value + MULTIPLIER_RATE * beyond, 0.0)
        return trajectory.with_reward(paid), Multiplier(value)


# Clips that are considered for each one that is looked over.
CONSIDERED = 16


class Never(eqx.Module):
    """What was marked, what was learned from it, and what it is charged."""

    marks: Marks
    model: CostModel
    multiplier: Multiplier
    share: Float[Array, ""]
    """Of the steps that were last played, as the model has it: their mean cost."""

    @staticmethod
    def start(key: PRNGKeyArray, family: Shown, config: NeverConfig) -> "Never":
        """Nothing was looked over yet."""
        marks = nothing_marked(family, config.clips)
        model = CostModel.create(key, family, config.model)
        return Never(marks, model, Multiplier.start(), jnp.zeros((), jnp.float32))

    def taught(self, key: PRNGKeyArray, marks: Marks) -> "Never":
        """After the cost model has learned from these marks as well."""
        return Never(marks, self.model.adapt(key, marks), self.multiplier, self.share)

    def cost(self, trajectory: Trajectory) -> Float[Array, "*batch time"]:
        """Of each step; before anybody has looked, nothing is known to cost anything."""
        cost = self.model(trajectory.obs, trajectory.action)
        return jnp.where(self.marks.weight.any(), cost, 0.0)

    def pay(self, trajectory: Trajectory, config: NeverConfig) -> tuple[Trajectory, "Never"]:
        """What is left of the reward, and this for the next update."""
        cost = self.cost(trajectory)
        paid, multiplier = self.multiplier.pay(trajectory, cost, config.limit)
        return paid, Never(self.marks, self.model, multiplier, cost.mean())


def nothing_marked(family: Shown, room: int) -> Marks:
    """Room for so many clips, none of which has been looked over."""
    clips = blank(family, room)
    return Marks(clips, jnp.zeros(clips.task_reward.shape, bool), jnp.zeros(room))


@runtime_checkable
class Forbids(Shown, Protocol):
    """A family in which some steps must never be, which a person knows and an agent is not told."""

    def cost(
        self, obs: Float[Array, " obs"], action: Shaped[Array, "*action"], task: Task
    ) -> Float[Array, ""]:
        """1 for a step that must never be, 0 for any other."""
        ...


def look_over(
    key: PRNGKeyArray,
    never: Never,
    clips: Segment,
    showable: Bool[Array, " clip"],
    family: Forbids,
    task: Task,
    count: int,
) -> Never:
    """Let the person look over `count` more of `clips`, as far as there is room, and learn from it.

    Those that the model is least sure about are shown, of some that are drawn. Nobody looks a clip
    over twice: where there are too few new ones, fewer are.
    """
    draw_key, fit_key = jax.random.split(key)
    new = showable & ~among(clips, never.marks.clips, never.marks.weight)
    some = min(CONSIDERED * count, len(new))
    drawn = jax.lax.top_k(jnp.where(new, jax.random.uniform(draw_key, new.shape), -1.0), some)[1]
    p = never.model.by_member(clips.obs[drawn], clips.action[drawn]).mean(0)
    doubt = jnp.where(new[drawn], jnp.sum(p * (1.0 - p), axis=-1), -1.0)
    chosen = drawn[jax.lax.top_k(doubt, min(count, some))[1]]
    shown = clips[chosen]
    forbidden = true_cost(family, task, shown.obs, shown.action) > 0
    seen = new[chosen].astype(never.marks.weight.dtype)  # what is not comes last
    rows = never.marks.weight.sum().astype(int) + jnp.arange(len(chosen))
    put = lambda store, new: store.at[rows].set(new, mode="drop")
    marks = jax.tree.map(put, never.marks, Marks(shown, forbidden, seen))
    return never.taught(fit_key, marks)


def true_cost(
    family: Forbids, task: Task, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
) -> Float[Array, "*batch"]:
    """Of steps, in the policy's units of actions. For simulated people and evaluation alone."""
    of = lambda obs, action: family.cost(obs, action, task)
    for _ in range(obs.ndim - 1):
        of = jax.vmap(of)
    return of(obs, family.action_space.from_unit(action))


# Ziegler et al. have a tenth of it, for thousands of updates; here there are tens or hundreds.
LEASH_GAIN = 1.0
LEASH_START = 0.1
"""What a nat costs at first, in standard deviations of a step's reward."""


class Leash(eqx.Module):
    """A penalty on KL(policy || reference) whose size follows from how far it is.

    Ziegler et al. 2019, "Fine-tuning language models from human preferences", section 2.2: each
    action costs `coefficient` times log policy(a|s) - log reference(a|s), the mean of which is the
    divergence per step; the coefficient rises while that is above its target, and falls below it.
    """

    reference: Actor
    coefficient: Float[Array, ""]
    kl: Float[Array, ""]
    """How far the policy was from the reference when it last played, in nats a step."""

    @staticmethod
    def on(reference: Actor) -> "Leash":
        """A leash to `reference`, as loose as it is at first."""
        return Leash(reference, jnp.full((), LEASH_START, jnp.float32), jnp.zeros((), jnp.float32))

    def pay(self, trajectory: Trajectory, target: float) -> tuple[Trajectory, "Leash"]:
        """What is left of the reward, and the leash for the next update.

        A policy with a memory is taken to remember, at the first step, what the reference would.
        """
        said = self.reference.over(trajectory.obs, trajectory.memory, trajectory.done)
        strayed = trajectory.log_prob - said.log_prob(trajectory.action)
        # Shared out, so that what is paid is of the same size however dear it is to stray.
        paid = (trajectory.reward - self.coefficient * strayed) / (1.0 + self.coefficient)
        paid = trajectory.with_reward(paid)
        kl = strayed.mean()
        error = jnp.clip(kl / target - 1.0, -0.2, 0.2)
        coefficient = jnp.clip(self.coefficient * (1.0 + LEASH_GAIN * error), 1e-3, 1e3)
        return paid, Leash(self.reference, coefficient, kl)

    def told(self, context: Float[Array, " context"]) -> "Leash":
        """The same, with a reference that is told something else about the task."""
        return eqx.tree_at(lambda leash: leash.reference.body.context, self, context)
