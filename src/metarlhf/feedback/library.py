"""Clips kept from earlier tasks, to ask about a new one before anything was done in it."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from metarlhf.envs.base import TaskFamily
from metarlhf.feedback.segments import blank
from metarlhf.types import Segment, Task


class Library(eqx.Module):
    """Clips, with what followed each of their steps: a teacher watches, it does not guess."""

    clips: Segment
    next_obs: Float[Array, "clip length obs"]

    @staticmethod
    def blank(family: TaskFamily, count: int) -> "Library":
        """Room for `count` clips of `family`; none is a library, too."""
        clips = blank(family, count)
        return Library(clips, clips.obs)

    def __len__(self) -> int:
        return self.next_obs.shape[0]

    def __getitem__(self, index: Array) -> "Library":
        return jax.tree.map(lambda x: x[index], self)

    def seen_under(self, family: TaskFamily, task: Task) -> Segment:
        """The clips with what `task` pays for them, whichever task they were recorded under.

        That is for a simulated teacher, and for it alone.
        """
        if not len(self):
            return self.clips  # also of families where nobody could say
        action = family.action_space.from_unit(self.clips.action)
        per_step = jax.vmap(jax.vmap(family.reward, (0, 0, 0, None)), (0, 0, 0, None))
        paid = per_step(self.clips.obs, action, self.next_obs, task)
        return eqx.tree_at(lambda clips: clips.task_reward, self.clips, paid)
