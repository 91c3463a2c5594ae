"""What must never be, learned from marks on moments: a second signal beside the reward."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.envs.base import Shown
from metarlhf.reward.config import CostConfig
from metarlhf.reward.networks import RewardNetwork
from metarlhf.types import Segment


class Marks(eqx.Module):
    """Clips that somebody looked over, and which of their steps must never be.

    `weight` is 1 for a clip that was looked over, all of it, and 0 where there is room for one.
    """

    clips: Segment
    forbidden: Bool[Array, "clip length"]
    weight: Float[Array, " clip"]


class CostModel(eqx.Module):
    """How likely it is that a step is one that must never be."""

    networks: RewardNetwork
    """Leaves have a leading dimension `member`; outputs are log-odds."""
    config: CostConfig = eqx.field(static=True)

    @staticmethod
    def create(key: PRNGKeyArray, family: Shown, config: CostConfig) -> "CostModel":
        """Random networks."""
        build = lambda key: RewardNetwork(family, key=key, hidden=config.hidden)
        return CostModel(jax.vmap(build)(jax.random.split(key, config.members)), config)

    def __call__(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "*batch"]:
        """The cost of a step, from 0 to 1: a cautious probability."""
        each = self.by_member(obs, action)
        careful = each.mean(0) + self.config.caution * each.std(0)
        return jnp.minimum(careful, 1.0)

    def by_member(
        self, obs: Float[Array, "*batch obs"], action: Shaped[Array, "..."]
    ) -> Float[Array, "member *batch"]:
        """Probability, as each network has it."""
        one = lambda network: jax.nn.sigmoid(network(obs, action)[..., 0])
        return jax.vmap(one)(self.networks)

    def adapt(self, key: PRNGKeyArray, marks: Marks) -> "CostModel":
        """Go on fitting every network to all marks so far: logistic regression on steps."""
        keys = jax.random.split(key, self.config.members)
        fit = lambda network, key: fit_network(network, key, marks, self.config)
        return CostModel(jax.vmap(fit)(self.networks, keys), self.config)


def fit_network(
    network: RewardNetwork, key: PRNGKeyArray, marks: Marks, config: CostConfig
) -> RewardNetwork:
    """`fit_steps` of Adam towards the marks.

    Marked steps are rare: half of each minibatch is of them, and weighs as much as they are many,
    so that what is learned are the odds of a mark all the same.
    """
    obs, action = (x.reshape(-1, *x.shape[2:]) for x in (marks.clips.obs, marks.clips.action))
    looked_at = jnp.broadcast_to(marks.weight[:, None] > 0, marks.forbidden.shape).reshape(-1)
    bad = marks.forbidden.reshape(-1) & looked_at
    good = looked_at & ~bad
    share = bad.sum() / jnp.maximum(looked_at.sum(), 1)
    optimiser, half = optax.adam(config.lr), max(1, config.minibatch // 2)

    def loss(network: RewardNetwork, rows, label: float) -> Float[Array, ""]:
        logit = network(obs[rows], action[rows])[..., 0]
        return jnp.mean(jax.nn.softplus(-logit if label else logit))

    def total(network: RewardNetwork, bad_rows, good_rows) -> Float[Array, ""]:
        return share * loss(network, bad_rows, 1.0) + (1 - share) * loss(network, good_rows, 0.0)

    def step(carry, key):
        network, state = carry
        bad_key, good_key = jax.random.split(key)
        rows = [_draw(k, among, half) for k, among in ((bad_key, bad), (good_key, good))]
        gradient = jax.grad(total)(network, *rows)
        return optimise.step(optimiser, gradient, state, network), None

    start = (network, optimise.begin(optimiser, network))
    (fitted, _), _ = jax.lax.scan(step, start, jax.random.split(key, config.fit_steps))
    # Before anybody has looked, there is nothing to be fitted to.
    some = looked_at.any()
    return jax.tree.map(lambda new, old: jnp.where(some, new, old), fitted, network)


def _draw(key: PRNGKeyArray, among: Bool[Array, " step"], count: int):
    """Numbers of steps, drawn with replacement from those; of any where there are none of them."""
    rank = jnp.cumsum(among)
    wanted = jnp.floor(jax.random.uniform(key, (count,)) * rank[-1]) + 1
    return jnp.searchsorted(rank, wanted.astype(rank.dtype)).clip(0, among.shape[0] - 1)
