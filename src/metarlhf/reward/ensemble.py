"""An ensemble of reward networks, fitted to what a person said: the belief without a prior."""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.envs.base import Shown
from metarlhf.reward.losses import log_likelihoods, weighted_mean
from metarlhf.reward.networks import AdditiveNetwork, RewardNetwork
from metarlhf.types import Feedback, Segment


@dataclass(frozen=True)
class EnsembleConfig:
    """A reward model learned from answers alone."""

    members: int = 3
    """Networks, each with its own start and its own minibatches of the answers."""
    network: Literal["mlp", "additive"] = "mlp"
    """What each network is: a perceptron on all inputs, or a sum of one for each input, whose
    curves can be read (`metarlhf explain`), and which nothing hides in that two inputs do
    together."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden layers of each network."""
    lr: float = 3e-3
    """Adam's step size."""
    fit_steps: int = 100
    """Gradient steps each time that new answers came in."""
    minibatch: int = 32
    """Answers of each kind in one gradient step."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW): answers are few."""


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


def feedback_loss(model: RewardModel, feedback: Feedback) -> Float[Array, ""]:
    """Mean negative log-likelihood of comparisons plus that of ratings, where there are any."""
    chosen, marked = log_likelihoods(
        model.clip_sums,
        feedback,
        jnp.exp(model.log_sharpness),
        jnp.maximum(model.log_rating_std, jnp.log(0.03)),
    )
    return -(
        weighted_mean(chosen, feedback.comparisons.weight)
        + weighted_mean(marked, feedback.ratings.weight)
    )


class Ensemble(eqx.Module):
    """Reward models side by side (leaves have a leading dimension `member`)."""

    models: RewardModel
    config: EnsembleConfig = eqx.field(static=True)

    @staticmethod
    def create(key: PRNGKeyArray, family: Shown, config: EnsembleConfig) -> "Ensemble":
        """Random networks."""
        additive = config.network == "additive"
        build = lambda key: RewardModel(family, key=key, hidden=config.hidden, additive=additive)
        return Ensemble(jax.vmap(build)(jax.random.split(key, config.members)), config)

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
        fit = lambda model, key: fit_model(model, key, feedback, self.config)
        keys = jax.random.split(key, self.config.members)
        return Ensemble(jax.vmap(fit)(self.models, keys), self.config)

    def condition(self, log_likelihood: Float[Array, " member"]) -> "Ensemble":
        """A few networks are too few to be weighed: they wait for the next fit."""
        return self

    def context(self) -> Float[Array, " 0"]:
        return jnp.zeros(0)

    def sample_contexts(self, key: PRNGKeyArray, count: int) -> Float[Array, "count 0"]:
        return jnp.zeros((count, 0))


def fit_model(
    model: RewardModel, key: PRNGKeyArray, feedback: Feedback, config: EnsembleConfig
) -> RewardModel:
    """`fit_steps` of AdamW on minibatches of the answers given so far."""
    optimiser = optax.adamw(config.lr, weight_decay=config.weight_decay)

    def pick(key, part, weight):
        if not weight.shape[0]:
            return part
        # Answers are kept from the first row on. Before the first of all, row 0 is
        # drawn, with weight 0.
        count = jnp.maximum(weight.sum(), 1.0)
        index = jnp.floor(count * jax.random.uniform(key, (config.minibatch,))).astype(int)
        return jax.tree.map(lambda x: x[index], part)

    def step(carry, key):
        model, state = carry
        comparison_key, rating_key = jax.random.split(key)
        minibatch = Feedback(
            pick(comparison_key, feedback.comparisons, feedback.comparisons.weight),
            pick(rating_key, feedback.ratings, feedback.ratings.weight),
        )
        gradient = jax.grad(feedback_loss)(model, minibatch)
        return optimise.step(optimiser, gradient, state, model), None

    start = (model, optimise.begin(optimiser, model))
    (model, _), _ = jax.lax.scan(step, start, jax.random.split(key, config.fit_steps))
    return model
