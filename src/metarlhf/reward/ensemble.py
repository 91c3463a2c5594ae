"""An ensemble of reward networks, fitted to what a person said: the belief without a prior."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.envs.base import Shown
from metarlhf.reward.config import EnsembleConfig
from metarlhf.reward.likelihood import ANNOTATORS, log_likelihoods, weighted_mean
from metarlhf.reward.networks import AdditiveNetwork, RewardNetwork
from metarlhf.types import Feedback, Segment

NEVER = -30.0
"""Log-odds that are as good as none, and finite."""
BIAS = 0.3
"""How far biases are expected to move, where `weight_spread` is 1."""

QUICKER = 10.0
"""Steps of the log-odds of a guess, as many times as long as those of weights: they go further."""


class RewardModel(eqx.Module):
    """One member: a network, and how its output relates to answers."""

    network: RewardNetwork | AdditiveNetwork
    log_sharpness: Float[Array, ""]
    log_rating_std: Float[Array, ""]

    def __init__(
        self,
        family: Shown,
        *,
        key: PRNGKeyArray,
        hidden: tuple[int, ...],
        additive: bool = False,
    ):
        make = AdditiveNetwork if additive else RewardNetwork
        self.network = make(family, key=key, hidden=hidden)
        self.log_sharpness = jnp.zeros(())
        self.log_rating_std = jnp.full((), jnp.log(0.2), float)

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        return self.network(obs, action)[..., 0]

    def clip_sums(self, clips: Segment) -> Float[Array, "*batch"]:
        """Sum of rewards over each clip."""
        return self(clips.obs, clips.action).sum(-1)


def feedback_loss(
    model: RewardModel, feedback: Feedback, lapse: float | Float[Array, " annotator"] = 0.0
) -> Float[Array, ""]:
    """Mean negative log-likelihood of comparisons plus that of ratings, where there are any."""
    chosen, marked = log_likelihoods(
        model.clip_sums,
        feedback,
        jnp.exp(model.log_sharpness),
        jnp.maximum(model.log_rating_std, jnp.log(0.03)),
        lapse,
    )
    return -(
        weighted_mean(chosen, feedback.comparisons.weight)
        + weighted_mean(marked, feedback.ratings.weight)
    )


class Ensemble(eqx.Module):
    """Reward models side by side (leaves have a leading dimension `member`)."""

    models: RewardModel
    begun: RewardModel
    """What the models were before the first answer, which is the mean of their prior."""
    lapse_logit: Float[Array, "member annotator"]
    """Log-odds of the share of each person's comparisons that a member takes for guesses."""
    config: EnsembleConfig = eqx.field(static=True)

    @staticmethod
    def create(key: PRNGKeyArray, family: Shown, config: EnsembleConfig) -> "Ensemble":
        """Random networks."""
        additive = config.network == "additive"
        build = lambda key: RewardModel(family, key=key, hidden=config.hidden, additive=additive)
        models = jax.vmap(build)(jax.random.split(key, config.members))
        expected = jnp.full((config.members, ANNOTATORS), _logit(config.lapse), jnp.float32)
        return Ensemble(models, models, expected, config)

    @property
    def weight(self) -> Float[Array, " member"]:
        """All members count alike."""
        return jnp.full(self.config.members, 1.0 / self.config.members)

    @property
    def sharpness(self) -> Float[Array, "member 1"]:
        """Each member's own."""
        return jnp.exp(self.models.log_sharpness)[:, None]

    @property
    def rating_log_std(self) -> Float[Array, " member"]:
        """Each member's own."""
        return self.models.log_rating_std

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """Mean of the members' rewards."""
        return jax.vmap(lambda model: model(obs, action))(self.models).mean(0)

    def clip_sums(self, clips: Segment) -> Float[Array, "member clip"]:
        return jax.vmap(lambda model: model.clip_sums(clips))(self.models)

    def adapt(self, key: PRNGKeyArray, feedback: Feedback) -> "Ensemble":
        """Go on fitting every member to all answers so far, in minibatches of them."""
        fit = lambda member, begun, key: fit_member(member, begun, key, feedback, self.config)
        keys = jax.random.split(key, self.config.members)
        models, lapse_logit = jax.vmap(fit)((self.models, self.lapse_logit), self.begun, keys)
        return Ensemble(models, self.begun, lapse_logit, self.config)

    def condition(self, log_likelihood: Float[Array, " member"]) -> "Ensemble":
        """A few networks are too few to be weighed: they wait for the next fit."""
        return self

    def share_of_guesses(self, feedback: Feedback) -> Float[Array, " annotator"]:
        """As `adapt` found them, the mean over members."""
        return jax.nn.sigmoid(self.lapse_logit).mean(0)

    def context(self) -> Float[Array, " 0"]:
        return jnp.zeros(0)

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count 0"]:
        return jnp.zeros((count, 0))


Member = tuple[RewardModel, Float[Array, " annotator"]]
"""A model, and the log-odds of a guess by each person."""


def fit_member(
    member: Member,
    begun: RewardModel,
    key: PRNGKeyArray,
    feedback: Feedback,
    config: EnsembleConfig,
) -> Member:
    """`fit_steps` of AdamW towards the most probable member, on minibatches of the answers so far.

    The prior has as much to say as it has beside all answers, however many are in a minibatch.
    """
    kinds = lambda member: (jax.tree.map(lambda _: "network", member[0]), "guesses")
    network = optax.adamw(config.lr, weight_decay=config.weight_decay)
    guesses = optax.adam(QUICKER * config.lr)
    optimiser = optax.multi_transform({"network": network, "guesses": guesses}, kinds)
    count = jnp.maximum(feedback.count, 1.0)

    def pick(key, part, weight):
        if not weight.shape[0]:
            return part
        # Answers are kept from the first row on. Before the first of all, row 0 is
        # drawn, with weight 0.
        count = jnp.maximum(weight.sum(), 1.0)
        index = jnp.floor(count * jax.random.uniform(key, (config.minibatch,))).astype(int)
        return jax.tree.map(lambda x: x[index], part)

    def loss(member: Member, minibatch: Feedback) -> Float[Array, ""]:
        model, lapse_logit = member
        lapse = jax.nn.sigmoid(lapse_logit) if _estimates_lapse(config) else config.lapse
        return feedback_loss(model, minibatch, lapse) - log_prior(member, begun, config) / count

    def step(carry, key):
        member, state = carry
        comparison_key, rating_key = jax.random.split(key)
        minibatch = Feedback(
            pick(comparison_key, feedback.comparisons, feedback.comparisons.weight),
            pick(rating_key, feedback.ratings, feedback.ratings.weight),
        )
        gradient = jax.grad(loss)(member, minibatch)
        return optimise.step(optimiser, gradient, state, member), None

    start = (member, optimise.begin(optimiser, member))
    (member, _), _ = jax.lax.scan(step, start, jax.random.split(key, config.fit_steps))
    return member


def log_prior(member: Member, begun: RewardModel, config: EnsembleConfig) -> Float[Array, ""]:
    """Log-density, up to a constant, of where weights went and of how many answers are guesses.

    Weights are normal about where they began, a tensor's as wide as it was large (Pearce et al.
    2018, "Bayesian neural network ensembles": members that begin apart are then like draws from the
    posterior). Biases begin at zero, and are as wide as `BIAS`. The share of guesses is beta.
    """
    model, lapse_logit = member
    spread = config.weight_spread

    def moved(now, before, width):
        return jnp.sum((now - before) ** 2) / (width * spread) ** 2

    now, before = model.network.layers, begun.network.layers
    size = lambda weight: jnp.sqrt(jnp.mean(weight**2))
    far = jnp.zeros(())
    if config.weight_spread is not None:
        weights = zip(now.weights, before.weights, strict=True)
        far += sum(moved(*two, size(two[1])) for two in weights)
        far += sum(moved(*two, BIAS) for two in zip(now.biases, before.biases, strict=True))
    guesses = jnp.zeros(())
    if _estimates_lapse(config):
        guesses = jnp.sum(
            config.lapse * jax.nn.log_sigmoid(lapse_logit)
            + (1.0 - config.lapse) * jax.nn.log_sigmoid(-lapse_logit)
        )
        guesses *= config.lapse_answers or 0.0
    return guesses - 0.5 * far


def _estimates_lapse(config: EnsembleConfig) -> bool:
    return config.lapse > 0 and config.lapse_answers is not None


def _logit(share: float) -> float:
    return math.log(share / (1.0 - share)) if share else NEVER
