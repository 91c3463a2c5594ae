"""What the policy's reward is reduced by: a cost that is constrained, and a KL penalty.

A cost constraint (`CostConstraint`): a cost model is learned from steps that somebody marked as
forbidden, and a Lagrangian keeps the mean cost of a step below a limit.

A KL penalty (`KLPenalty`): a policy is charged for moving away from a reference policy. A learned
reward is known where the reference went. The further a policy is from there, the less the reward is
worth, and the further it can be led astray.
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

# High at first, while a policy still tries things: one that has settled on the way through finds no
# way round any more.
MULTIPLIER_START = 10.0
# How much the multiplier rises in an update in which the cost is twice the limit, or more.
MULTIPLIER_RATE = 1.0
# It falls more slowly: a limit that is just kept would soon be broken again.
SLOWER = 0.1


class LagrangeMultiplier(eqx.Module):
    """The Lagrangian of `maximise reward while the mean cost of a step is at most a limit`.

    A step that costs c is paid r - m c, by one value function for both (Tessler et al. 2019,
    "Reward constrained policy optimization"; Ray et al. 2019, "Benchmarking safe exploration in
    deep reinforcement learning", have one for each, whose difference is the same). The multiplier m
    climbs by the gradient, the cost beyond the limit, in units of the limit, and is never negative.
    """

    value: Float[Array, ""]

    @staticmethod
    def start() -> "LagrangeMultiplier":
        """The multiplier before the first update."""
        return LagrangeMultiplier(jnp.full((), MULTIPLIER_START, jnp.float32))

    def apply(
        self,
        trajectory: Trajectory,
        cost: Float[Array, "*batch time"],
        limit: float | Float[Array, ""],
    ) -> tuple[Trajectory, "LagrangeMultiplier"]:
        """Charge the cost, and take a step of the multiplier.

        Args:
            trajectory: with the reward to reduce.
            cost: of each step.
            limit: what the mean cost of a step is to stay below.

        Returns:
            The trajectory with the reduced reward, divided by 1 + m so that it stays of one size;
            and the multiplier for the next update.
        """
        paid = (trajectory.reward - self.value * cost) / (1.0 + self.value)
        beyond = jnp.clip(cost.mean() / limit - 1.0, -SLOWER / MULTIPLIER_RATE, 1.0)
        value = jnp.maximum(self.value + MULTIPLIER_RATE * beyond, 0.0)
        return trajectory.with_reward(paid), LagrangeMultiplier(value)


# Clips that are considered for each one that is reviewed.
_CONSIDERED = 16


class CostConstraint(eqx.Module):
    """Marks of forbidden steps, the cost model that is learned from them, and its multiplier."""

    marks: Marks
    model: CostModel
    multiplier: LagrangeMultiplier
    mean_cost: Float[Array, ""]
    """Of a step when the policy last acted, by the model."""

    @staticmethod
    def start(key: PRNGKeyArray, family: Shown, config: NeverConfig) -> "CostConstraint":
        """Before anybody has marked anything, with a random cost model."""
        marks = no_marks(family, config.clips)
        model = CostModel.create(key, family, config.model)
        return CostConstraint(marks, model, LagrangeMultiplier.start(), jnp.zeros((), jnp.float32))

    def adapt(self, key: PRNGKeyArray, marks: Marks) -> "CostConstraint":
        """The same with a cost model that is fitted to all marks."""
        return CostConstraint(marks, self.model.adapt(key, marks), self.multiplier, self.mean_cost)

    def cost(self, trajectory: Trajectory) -> Float[Array, "*batch time"]:
        """Of each step; none before the first clip was reviewed."""
        cost = self.model(trajectory.obs, trajectory.action)
        return jnp.where(self.marks.weight.any(), cost, 0.0)

    def apply(
        self, trajectory: Trajectory, config: NeverConfig
    ) -> tuple[Trajectory, "CostConstraint"]:
        """The trajectory with the reduced reward, and the constraint for the next update."""
        cost = self.cost(trajectory)
        paid, multiplier = self.multiplier.apply(trajectory, cost, config.limit)
        return paid, CostConstraint(self.marks, self.model, multiplier, cost.mean())


def no_marks(family: Shown, room: int) -> Marks:
    """Room for so many clips, none of which was reviewed."""
    clips = blank(family, room)
    return Marks(clips, jnp.zeros(clips.task_reward.shape, bool), jnp.zeros(room))


@runtime_checkable
class CostFamily(Shown, Protocol):
    """A family in which some steps have a cost, which a person knows and an agent is not told."""

    def cost(
        self, obs: Float[Array, " obs"], action: Shaped[Array, "*action"], task: Task
    ) -> Float[Array, ""]:
        """1 for a forbidden step, 0 for any other."""
        ...


def mark_clips(
    key: PRNGKeyArray,
    constraint: CostConstraint,
    clips: Segment,
    showable: Bool[Array, " clip"],
    family: CostFamily,
    task: Task,
    count: int,
) -> CostConstraint:
    """Let a simulated person review some clips, mark forbidden steps, and fit the cost model.

    Those that the model is least sure about are reviewed, of some that are drawn, and none twice.

    Args:
        key: of the draw and the fit.
        constraint: what was marked before.
        clips: which may be reviewed.
        showable: which of them may be shown.
        family: whose cost the person knows.
        task: the agent's.
        count: clips to review; fewer where there are too few new ones, or too little room.
    """
    draw_key, fit_key = jax.random.split(key)
    new = showable & ~among(clips, constraint.marks.clips, constraint.marks.weight)
    some = min(_CONSIDERED * count, len(new))
    drawn = jax.lax.top_k(jnp.where(new, jax.random.uniform(draw_key, new.shape), -1.0), some)[1]
    p = constraint.model.by_member(clips.obs[drawn], clips.action[drawn]).mean(0)
    doubt = jnp.where(new[drawn], jnp.sum(p * (1.0 - p), axis=-1), -1.0)
    chosen = drawn[jax.lax.top_k(doubt, min(count, some))[1]]
    shown = clips[chosen]
    forbidden = true_cost(family, task, shown.obs, shown.action) > 0
    seen = new[chosen].astype(constraint.marks.weight.dtype)  # what is not comes last
    rows = constraint.marks.weight.sum().astype(int) + jnp.arange(len(chosen))
    put = lambda store, new: store.at[rows].set(new, mode="drop")
    marks = jax.tree.map(put, constraint.marks, Marks(shown, forbidden, seen))
    return constraint.adapt(fit_key, marks)


def true_cost(
    family: CostFamily, task: Task, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
) -> Float[Array, "*batch"]:
    """Of steps, in the policy's units of actions. For simulated people and evaluation alone."""
    of = lambda obs, action: family.cost(obs, action, task)
    for _ in range(obs.ndim - 1):
        of = jax.vmap(of)
    return of(obs, family.action_space.from_unit(action))


# Ziegler et al. have a tenth of it, for thousands of updates; here there are tens or hundreds.
_PENALTY_GAIN = 1.0
_PENALTY_START = 0.1
"""What a nat costs at first, in standard deviations of a step's reward."""


class KLPenalty(eqx.Module):
    """A penalty on KL(policy || reference) whose coefficient adapts to a target.

    Ziegler et al. 2019, "Fine-tuning language models from human preferences", section 2.2: each
    action costs `coefficient` times log policy(a|s) - log reference(a|s), the mean of which is the
    divergence per step; the coefficient rises while that is above its target, and falls below it.
    """

    reference: Actor
    coefficient: Float[Array, ""]
    kl: Float[Array, ""]
    """KL(policy || reference) when the policy last acted, in nats a step."""

    @staticmethod
    def start(reference: Actor) -> "KLPenalty":
        """A penalty on moving away from `reference`, with the first coefficient."""
        return KLPenalty(
            reference, jnp.full((), _PENALTY_START, jnp.float32), jnp.zeros((), jnp.float32)
        )

    def apply(self, trajectory: Trajectory, target: float) -> tuple[Trajectory, "KLPenalty"]:
        """Reduce a trajectory's reward by the penalty, and adapt the coefficient.

        A policy with a memory is taken to remember, at the first step, what the reference would.

        Args:
            trajectory: with the reward to reduce.
            target: of the divergence, in nats a step.

        Returns:
            The trajectory with the reduced reward, divided by 1 + coefficient so that it stays of
            one size; and the penalty for the next update.
        """
        said = self.reference.over(trajectory.obs, trajectory.memory, trajectory.done)
        strayed = trajectory.log_prob - said.log_prob(trajectory.action)
        # Shared out, so that what is paid is of the same size however dear it is to stray.
        paid = (trajectory.reward - self.coefficient * strayed) / (1.0 + self.coefficient)
        paid = trajectory.with_reward(paid)
        kl = strayed.mean()
        error = jnp.clip(kl / target - 1.0, -0.2, 0.2)
        coefficient = jnp.clip(self.coefficient * (1.0 + _PENALTY_GAIN * error), 1e-3, 1e3)
        return paid, KLPenalty(self.reference, coefficient, kl)

    def with_context(self, context: Float[Array, " context"]) -> "KLPenalty":
        """The same with a reference that is conditioned on another context."""
        return eqx.tree_at(lambda penalty: penalty.reference.body.context, self, context)
