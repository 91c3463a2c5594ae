"""A reward that a few gradient steps fit to a person, from an initialisation made for that.

Both the initialisation and the step sizes (one for each tensor and step) are meta-learned: MAML
(Finn et al. 2017) with Meta-SGD's learned step sizes (Li et al. 2017), over an ensemble, so that
there is something to be uncertain with. See `metarlhf.meta.reward_gradient` for how.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import TaskFamily
from metarlhf.reward.ensemble import RewardModel, feedback_loss
from metarlhf.reward.likelihood import ANNOTATORS
from metarlhf.types import Feedback, Segment

# A pytree like `RewardModel`, each leaf [step]: the step size of that tensor in that step.
LogStepSizes = RewardModel


class GradientReward(eqx.Module):
    """Adapted networks, and what they were adapted from; leaves lead with `member`."""

    initial: RewardModel
    log_step_sizes: LogStepSizes
    adapted: RewardModel

    @staticmethod
    def create(
        key: PRNGKeyArray,
        family: TaskFamily,
        *,
        members: int = 3,
        hidden: tuple[int, ...] = (64, 64),
        steps: int = 5,
        step_size: float = 0.05,
    ) -> "GradientReward":
        """Random networks, which nothing has been learned by yet."""
        build = lambda key: RewardModel(family, key=key, hidden=hidden)
        models = jax.vmap(build)(jax.random.split(key, members))
        sizes = jax.tree.map(
            lambda _: jnp.full((members, steps), jnp.log(step_size), float), models
        )
        return GradientReward(models, sizes, models)

    @property
    def weight(self) -> Float[Array, " member"]:
        """All members count alike."""
        members = self.initial.log_sharpness.shape[0]
        return jnp.full(members, 1.0 / members)

    @property
    def sharpness(self) -> Float[Array, "member 1"]:
        """Each member's own."""
        return jnp.exp(self.adapted.log_sharpness)[:, None]

    @property
    def rating_log_std(self) -> Float[Array, " member"]:
        """Each member's own."""
        return self.adapted.log_rating_std

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """Mean of the members' rewards."""
        return jax.vmap(lambda model: model(obs, action))(self.adapted).mean(0)

    def clip_sums(self, clips: Segment) -> Float[Array, "member clip"]:
        return jax.vmap(lambda model: model.clip_sums(clips))(self.adapted)

    def adapt(self, key: PRNGKeyArray, feedback: Feedback) -> "GradientReward":
        """From the initialisation, on all answers so far; without an answer nothing moves."""
        adapted = jax.vmap(lambda model, sizes: descend(model, sizes, feedback))(
            self.initial, self.log_step_sizes
        )
        return GradientReward(self.initial, self.log_step_sizes, adapted)

    def condition(self, log_likelihood: Float[Array, " member"]) -> "GradientReward":
        """A few networks are too few to be weighed: they wait for the next answers."""
        return self

    def share_of_guesses(self, feedback: Feedback) -> Float[Array, " annotator"]:
        """None: every answer is taken at its word."""
        return jnp.zeros(ANNOTATORS)

    def context(self) -> Float[Array, " 0"]:
        return jnp.zeros(0)

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count 0"]:
        return jnp.zeros((count, 0))


def descend(model: RewardModel, log_step_sizes: LogStepSizes, feedback: Feedback) -> RewardModel:
    """One network's gradient steps on all answers at once. Differentiable, step sizes included."""

    def step(model, log_sizes):
        gradient = jax.grad(feedback_loss)(model, feedback)
        move = lambda w, log_size, g: w - jnp.exp(log_size) * g
        return jax.tree.map(move, model, log_sizes, gradient), None

    return jax.lax.scan(step, model, log_step_sizes)[0]
