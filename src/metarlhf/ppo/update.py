"""The update: several passes of minibatch gradient steps over what was collected."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray, Shaped

from metarlhf import optimise
from metarlhf.networks import Agent, Distribution
from metarlhf.ppo.advantages import gae
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.objectives import clipped_surrogate, kl_penalised_surrogate
from metarlhf.types import Trajectory

Metrics = dict[str, Float[Array, ""]]


class Batch(eqx.Module):
    """What an update learns from: steps in any order, judged by the agent that made them."""

    obs: Float[Array, "step obs"]
    action: Shaped[Array, "step *action"]
    log_prob: Float[Array, " step"]
    advantage: Float[Array, " step"]
    value_target: Float[Array, " step"]
    policy: Distribution | None


def make_batch(agent: Agent, trajectory: Trajectory, config: PPOConfig) -> Batch:
    """Estimate advantages and flatten (env, time) into steps."""
    value, next_value = agent.critic(trajectory.obs), agent.critic(trajectory.next_obs)
    advantage = gae(
        trajectory.reward,
        value,
        next_value,
        trajectory.terminated,
        trajectory.truncated,
        config.gamma,
        config.gae_lambda,
    )
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    # By `vmap`, so that every leaf has a row for each step, the shared standard deviation too.
    policy_of = jax.vmap(lambda obs: agent.actor(obs)[0])
    obs = flat(trajectory.obs)
    return Batch(
        obs=obs,
        action=flat(trajectory.action),
        log_prob=flat(trajectory.log_prob),
        advantage=flat(advantage),
        value_target=flat(advantage + value),
        policy=policy_of(obs) if config.objective == "kl" else None,
    )


def loss(
    agent: Agent, batch: Batch, config: PPOConfig, kl_coefficient: Float[Array, ""]
) -> tuple[Float[Array, ""], Metrics]:
    """Policy, value and entropy losses of one minibatch."""
    distribution, _ = agent.actor(batch.obs)
    log_ratio = distribution.log_prob(batch.action) - batch.log_prob
    advantage = batch.advantage
    if config.normalise_advantage:
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

    ratio = jnp.exp(log_ratio)
    if batch.policy is None:
        # Schulman's estimator of KL(old || new): unbiased, never negative, small variance.
        kl = jnp.mean(ratio - 1.0 - log_ratio)
        policy_loss = clipped_surrogate(log_ratio, advantage, config.clip)
    else:
        exact_kl = batch.policy.kl(distribution)
        kl = jnp.mean(exact_kl)
        policy_loss = kl_penalised_surrogate(log_ratio, advantage, exact_kl, kl_coefficient)

    value_loss = 0.5 * jnp.mean((agent.critic(batch.obs) - batch.value_target) ** 2)
    entropy = jnp.mean(distribution.entropy())
    total = (
        policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    )
    return total, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "kl": kl,
        "clipped_fraction": jnp.mean(jnp.abs(ratio - 1.0) > config.clip),
    }


def shuffle(key: PRNGKeyArray, count: int) -> Integer[Array, " step"]:
    """The numbers below `count` in random order, for minibatches.

    One sort of single numbers, whose high bits are random and whose low bits are the answer: on a
    CPU an eighth of the time of `jax.random.permutation`, which was a third of an update's. Numbers
    whose random bits agree keep their order, which no mean over a minibatch can tell.
    """
    low = (count - 1).bit_length()
    if low > 16:
        return jax.random.permutation(key, count)
    mask = jnp.uint32((1 << low) - 1)
    mixed = (jax.random.bits(key, (count,)) & ~mask) | jnp.arange(count, dtype=jnp.uint32)
    return (jnp.sort(mixed) & mask).astype(jnp.int32)


def update(
    key: PRNGKeyArray,
    agent: Agent,
    optimiser_state: optax.OptState,
    optimiser: optax.GradientTransformation,
    batch: Batch,
    config: PPOConfig,
    kl_coefficient: Float[Array, ""],
) -> tuple[Agent, optax.OptState, Metrics]:
    """`epochs` passes over `batch` in `minibatches` gradient steps each.

    Returns the metrics as means over all gradient steps, but `kl` of the last pass alone: it says
    how far the update went.
    """

    def gradient_step(carry, minibatch):
        agent, optimiser_state = carry
        gradient, metrics = jax.grad(loss, has_aux=True)(agent, minibatch, config, kl_coefficient)
        return optimise.step(optimiser, gradient, optimiser_state, agent), metrics

    def epoch(carry, key):
        order = shuffle(key, batch.obs.shape[0])
        shuffled = jax.tree.map(
            lambda x: x[order].reshape(config.minibatches, -1, *x.shape[1:]), batch
        )
        return jax.lax.scan(gradient_step, carry, shuffled)

    keys = jax.random.split(key, config.epochs)
    (agent, optimiser_state), metrics = jax.lax.scan(epoch, (agent, optimiser_state), keys)
    last_kl = metrics["kl"][-1].mean()
    return agent, optimiser_state, jax.tree.map(jnp.mean, metrics) | {"kl": last_kl}
