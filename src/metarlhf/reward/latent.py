"""Rewards with a latent task variable, and a posterior over it.

The reward of task variable z is linear in features that all tasks share:

    r(s, a; z) = phi(s, a) . w(z)

so that the predicted sum of a clip is its summed features times w(z): thousands of hypotheses judge
hundreds of clips in one matrix product, and the posterior's mean reward is again phi . w for the
mean w.

The two ways in sequence: a posterior first, then gradient steps beyond what it holds.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.envs.base import TaskFamily
from metarlhf.networks import MLP
from metarlhf.reward.likelihood import ANNOTATORS, Guesses, by_annotator, evidence, log_likelihoods
from metarlhf.reward.networks import RewardNetwork
from metarlhf.types import Feedback, Segment


class LatentReward(eqx.Module):
    """Shared features, and a decoder from the task variable to their weights.

    A reward of 1 is the best mark, of 0 the worst: trained on marks as well as on comparisons, the
    scale is absolute.
    """

    features: RewardNetwork
    decoder: MLP
    log_sharpness: Float[Array, ""]
    """Comparisons follow Bradley-Terry on sums of rewards times the exponential of this."""
    log_rating_std: Float[Array, ""]
    """How far marks stray from predicted ones, as a share of the scale."""

    def __init__(
        self,
        family: TaskFamily,
        *,
        key: PRNGKeyArray,
        latent_size: int = 8,
        num_features: int = 64,
        hidden: tuple[int, ...] = (64, 64),
    ):
        features_key, decoder_key = jax.random.split(key)
        self.features = RewardNetwork(
            family, key=features_key, hidden=hidden, outputs=num_features - 1
        )
        self.decoder = MLP((latent_size, *hidden, num_features), key=decoder_key, final_scale=0.1)
        self.log_sharpness = jnp.full((), jnp.log(2.0), float)
        self.log_rating_std = jnp.full((), jnp.log(0.2), float)

    def phi(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch features"]:
        """Features of a step; the last is constant, so that w(z) holds an offset too."""
        features = self.features(obs, action) / jnp.sqrt(self.decoder.biases[-1].shape[0])
        return jnp.concatenate([features, jnp.ones((*features.shape[:-1], 1))], axis=-1)

    def phi_of(self, clip: Segment) -> Float[Array, "*batch features"]:
        """Summed features of clips."""
        return self.phi(clip.obs, clip.action).sum(-2)


class LatentPosterior(eqx.Module):
    """What is believed about the reward of one task: weighted particles of the task variable."""

    model: LatentReward
    particles: Float[Array, "particle latent"]
    log_weight: Float[Array, " particle"]
    guesses: Guesses = eqx.field(static=True, default=Guesses())

    @staticmethod
    def prior(model: LatentReward, particles: Float[Array, "particle latent"]) -> "LatentPosterior":
        """Nothing said yet: every particle is as likely as any other."""
        return LatentPosterior(model, particles, jnp.zeros(particles.shape[0]))

    @property
    def weight(self) -> Float[Array, " particle"]:
        """Probability of each particle."""
        return jax.nn.softmax(self.log_weight)

    def mean_weights(self) -> Float[Array, " features"]:
        """W of the posterior mean reward."""
        return self.weight @ self.model.decoder(self.particles)

    @property
    def sharpness(self) -> Float[Array, ""]:
        """Bradley-Terry's scale."""
        return jnp.exp(self.model.log_sharpness)

    @property
    def rating_log_std(self) -> Float[Array, ""]:
        """As learned in meta-training."""
        return self.model.log_rating_std

    def context(self) -> Float[Array, " latent"]:
        """Posterior mean of the task variable."""
        return self.weight @ self.particles

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """Posterior mean reward of a step."""
        return self.model.phi(obs, action) @ self.mean_weights()

    def clip_sums(self, clips: Segment) -> Float[Array, "particle clip"]:
        """What each particle thinks of each clip: the sum of its rewards."""
        return self.model.decoder(self.particles) @ self.model.phi_of(clips).T

    def log_likelihood(self, feedback: Feedback) -> Float[Array, " particle"]:
        """Log-probability of all answers under each particle, however many each person guesses."""
        _, mass = self.guesses.shares()
        chosen, marked = self._by_share(feedback)
        return evidence(chosen, mass).sum(-1) + marked @ feedback.ratings.weight

    def share_of_guesses(self, feedback: Feedback) -> Float[Array, " annotator"]:
        """What each person is believed to guess, given what all of them said."""
        share, mass = self.guesses.shares()
        each = self._by_share(feedback)[0]
        # Given a particle, people differ in nothing but their own share.
        given = jnp.exp(each - evidence(each, mass)) * mass[:, None, None]
        believed = self.adapt(jax.random.key(0), feedback).weight
        return jnp.einsum("s,spa,p->a", jnp.asarray(share, believed.dtype), given, believed)

    def _by_share(
        self, feedback: Feedback
    ) -> tuple[Float[Array, "share particle annotator"], Float[Array, "particle rating"]]:
        """Log-probability of what each person compared, did they guess such a share; and of each
        mark.
        """
        share, _ = self.guesses.shares()
        logs = lambda lapse: log_likelihoods(
            self.clip_sums, feedback, self.sharpness, self.rating_log_std, lapse
        )
        if self.guesses.answers is None:
            chosen, marked = jax.tree.map(lambda x: x[None], logs(self.guesses.expected))
        else:
            each = jnp.broadcast_to(share.astype(np.float32)[:, None], (len(share), ANNOTATORS))
            chosen, marked = jax.vmap(logs)(each)
        given, by = feedback.comparisons.weight, feedback.comparisons.annotator
        return by_annotator(chosen * given, by), marked[0]

    def adapt(self, key: PRNGKeyArray, feedback: Feedback) -> "LatentPosterior":
        """The posterior given all answers so far (a pure function of prior and answers)."""
        return eqx.tree_at(lambda b: b.log_weight, self, self.log_likelihood(feedback))

    def condition(self, log_likelihood: Float[Array, " particle"]) -> "LatentPosterior":
        """Bayes' rule for one more answer."""
        return eqx.tree_at(lambda b: b.log_weight, self, self.log_weight + log_likelihood)

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count latent"]:
        """Task variables drawn from the posterior."""
        return self.particles[jax.random.categorical(key, self.log_weight, shape=(count,))]


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
