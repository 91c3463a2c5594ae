"""Never this: clips are looked over for what must never be, and the policy is held to it."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import Shown
from metarlhf.feedback import blank
from metarlhf.feedback.segments import among
from metarlhf.ppo.lagrangian import Multiplier
from metarlhf.reward.cost import CostConfig, CostModel, Marks
from metarlhf.types import Segment, Task, Trajectory

# Clips that are considered for each one that is looked over.
CONSIDERED = 16


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
