"""The two ways in sequence: a posterior first, then gradient steps beyond what it holds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.reward.latent import LatentPosterior
from metarlhf.reward.losses import log_likelihoods
from metarlhf.types import Feedback, Segment


class RefinedPosterior(eqx.Module):
    """A posterior over task variables, and a correction of its reward's weights.

    The correction starts at zero and is pulled back to it by a normal prior, so that a few answers
    move it little and many can teach it what no training task was like.
    """

    posterior: LatentPosterior
    correction: Float[Array, " features"]
    spread: float = eqx.field(static=True, default=0.3)
    """Standard deviation of the correction's prior, for every feature's weight."""
    steps: int = eqx.field(static=True, default=50)
    lr: float = eqx.field(static=True, default=0.02)

    @staticmethod
    def of(posterior: LatentPosterior) -> "RefinedPosterior":
        """Nothing to correct yet."""
        return RefinedPosterior(posterior, jnp.zeros_like(posterior.mean_weights()))

    @property
    def weight(self) -> Float[Array, " particle"]:
        return self.posterior.weight

    @property
    def sharpness(self) -> Float[Array, ""]:
        return self.posterior.sharpness

    @property
    def rating_log_std(self) -> Float[Array, ""]:
        return self.posterior.rating_log_std

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """The corrected mean reward of a step."""
        return self.posterior.model.phi(obs, action) @ (
            self.posterior.mean_weights() + self.correction
        )

    def clip_sums(self, clips: Segment) -> Float[Array, "particle clip"]:
        """What each particle thinks of each clip, all corrected alike."""
        return (
            self.posterior.clip_sums(clips) + self.posterior.model.phi_of(clips) @ self.correction
        )

    def adapt(self, key: PRNGKeyArray, feedback: Feedback) -> "RefinedPosterior":
        """Bayes' rule on the particles, then ascent of the correction's posterior density."""
        posterior = self.posterior.adapt(key, feedback)
        mean, phi = posterior.mean_weights(), posterior.model.phi_of
        optimiser = optax.adam(self.lr)
        lapse = posterior.share_of_guesses(feedback)

        def loss(correction):
            chosen, marked = log_likelihoods(
                lambda clips: phi(clips) @ (mean + correction),
                feedback,
                posterior.sharpness,
                posterior.rating_log_std,
                lapse,
            )
            penalty = 0.5 * jnp.sum((correction / self.spread) ** 2)
            said = chosen @ feedback.comparisons.weight + marked @ feedback.ratings.weight
            return penalty - said

        def step(carry, _):
            correction, state = carry
            return optimise.step(optimiser, jax.grad(loss)(correction), state, correction), None

        start = jnp.zeros_like(mean)
        (correction, _), _ = jax.lax.scan(
            step, (start, optimise.begin(optimiser, start)), length=self.steps
        )
        return RefinedPosterior(posterior, correction, self.spread, self.steps, self.lr)

    def condition(self, log_likelihood: Float[Array, " particle"]) -> "RefinedPosterior":
        return eqx.tree_at(lambda b: b.posterior, self, self.posterior.condition(log_likelihood))

    def share_of_guesses(self, feedback: Feedback) -> Float[Array, " annotator"]:
        """As the posterior sees them."""
        return self.posterior.share_of_guesses(feedback)

    def context(self) -> Float[Array, " latent"]:
        return self.posterior.context()

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count latent"]:
        return self.posterior.sample_contexts(key, count)
