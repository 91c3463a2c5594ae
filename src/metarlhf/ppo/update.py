"""How far the new policy may move from the old one.

The update: several passes of minibatch gradient steps over what was collected.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import optimise
from metarlhf.networks import Agent, LearnedDrift
from metarlhf.ppo.batch import Batch
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.trpo import natural_step


def clipped_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
) -> Float[Array, ""]:
    """-mean min(r A, clip(r, 1 - c, 1 + c) A): Schulman et al. 2017, equation 7."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))


def discovered_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """-mean(r A - d), d being the drift that discovered policy optimisation charges.

    The closed form of a drift that was meta-learned (Lu et al. 2022, section 6): nothing where a
    step is undone, next to nothing near r = 1, more and more beyond. What was good is measured by
    r - 1, what was bad by log r.
    """
    ratio = jnp.exp(log_ratio)
    excess = lambda x, width: jnp.maximum(x - width * jnp.tanh(x / width), 0.0)
    good = excess((ratio - 1.0) * advantage, 2.0)
    bad = excess(log_ratio * advantage, 0.6)
    drift = jnp.where(advantage >= 0, good, bad)
    return -jnp.mean(ratio * advantage - drift)


def drifting_surrogate(
    log_ratio: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    clip: float,
    drift: LearnedDrift,
) -> Float[Array, ""]:
    """-mean(r A - d), the drift d being one that was meta-learned (LPO: Lu et al. 2022)."""
    return -jnp.mean(jnp.exp(log_ratio) * advantage - drift(log_ratio, advantage, clip))


def kl_penalised_surrogate(
    log_ratio: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    kl: Float[Array, "*batch"],
    coefficient: Float[Array, ""],
) -> Float[Array, ""]:
    """-mean(r A) + b mean(KL(old || new)): Schulman et al. 2017, equation 8."""
    return -jnp.mean(jnp.exp(log_ratio) * advantage) + coefficient * jnp.mean(kl)


def adapt_kl_coefficient(
    coefficient: Float[Array, ""], kl: Float[Array, ""], target: float
) -> Float[Array, ""]:
    """Double where the policy moved more than 1.5 times the target, halve where less than 1/1.5.

    Schulman et al. 2017, section 4.
    """
    doubled = jnp.where(kl > 1.5 * target, 2.0 * coefficient, coefficient)
    return jnp.clip(jnp.where(kl < target / 1.5, 0.5 * doubled, doubled), 1e-4, 1e4)


def value_loss(
    value: Float[Array, "*batch"],
    target: Float[Array, "*batch"],
    old: Float[Array, "*batch"] | None = None,
    clip: float = 0.0,
) -> Float[Array, ""]:
    """Half the mean squared error; with `clip` > 0 the worse of that and of the value held within
    `clip` of the `old` one (as in OpenAI's baselines, ppo2).
    """
    error = (value - target) ** 2
    if clip:
        assert old is not None
        held = old + jnp.clip(value - old, -clip, clip)
        error = jnp.maximum(error, (held - target) ** 2)
    return 0.5 * jnp.mean(error)


Metrics = dict[str, Float[Array, ""]]


def loss(
    agent: Agent,
    batch: Batch,
    config: PPOConfig,
    kl_coefficient: Float[Array, ""],
    drift: LearnedDrift | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """Policy, value and entropy losses of one minibatch; a learned `drift` stands for clipping."""
    distribution, value = agent.over(batch.obs, *batch.start, batch.done)
    log_ratio = distribution.log_prob(batch.action) - batch.log_prob
    advantage = standardise(batch.advantage) if config.normalise_advantage else batch.advantage

    ratio = jnp.exp(log_ratio)
    if config.objective == "kl":
        assert batch.policy is not None
        exact_kl = batch.policy.kl(distribution)
        kl = jnp.mean(exact_kl)
        policy_loss = kl_penalised_surrogate(log_ratio, advantage, exact_kl, kl_coefficient)
    else:
        # Schulman's estimator of KL(old || new): unbiased, never negative, small variance.
        kl = jnp.mean(ratio - 1.0 - log_ratio)
        if drift is not None:
            policy_loss = drifting_surrogate(log_ratio, advantage, config.clip, drift)
        elif config.objective == "discovered":
            policy_loss = discovered_surrogate(log_ratio, advantage)
        else:
            policy_loss = clipped_surrogate(log_ratio, advantage, config.clip)

    entropy = jnp.mean(distribution.entropy())
    error = value_loss(value, batch.value_target, batch.value, config.value_clip)
    total = policy_loss + config.value_coefficient * error - config.entropy_coefficient * entropy
    return total, {
        "policy_loss": policy_loss,
        "value_loss": error,
        "entropy": entropy,
        "kl": kl,
        "clipped_fraction": jnp.mean(jnp.abs(ratio - 1.0) > config.clip),
    }


def standardise(advantage: Float[Array, "row *time"]) -> Float[Array, "row *time"]:
    """To mean 0 and standard deviation 1."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


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
    drift: LearnedDrift | None = None,
) -> tuple[Agent, optax.OptState, Metrics]:
    """`epochs` passes over `batch` in `minibatches` gradient steps each.

    With trpo the policy takes its one step first, from the whole batch; the passes are the value
    function's. Returns the metrics as means over all gradient steps, but `kl` of the last pass
    alone: it says how far the update went.
    """
    objective = lambda agent, minibatch: loss(agent, minibatch, config, kl_coefficient, drift)
    policy_metrics: Metrics = {}
    if config.objective == "trpo":
        advantage = standardise(batch.advantage) if config.normalise_advantage else batch.advantage
        actor, policy_metrics = natural_step(
            agent.actor, batch, advantage, config.kl_target, config.entropy_coefficient
        )
        agent = eqx.tree_at(lambda a: a.actor, agent, actor)
        objective = lambda agent, minibatch: _values_alone(agent, minibatch, config)

    def gradient_step(carry, minibatch):
        old, going = carry
        agent, optimiser_state = old
        gradient, metrics = jax.grad(objective, has_aux=True)(agent, minibatch)
        new = optimise.step(optimiser, gradient, optimiser_state, agent)
        if config.kl_stop:
            going = going & (metrics["kl"] <= config.kl_stop)
            new = _only_if(going, new, old)
            metrics |= {"share_of_steps": going.astype(float)}
        return (new, going), metrics

    def epoch(carry, key):
        order = shuffle(key, batch.advantage.shape[0])
        shuffled = jax.tree.map(
            lambda x: x[order].reshape(config.minibatches, -1, *x.shape[1:]), batch
        )
        return jax.lax.scan(gradient_step, carry, shuffled)

    keys = jax.random.split(key, config.epochs)
    start = ((agent, optimiser_state), jnp.ones((), bool))
    ((agent, optimiser_state), _), metrics = jax.lax.scan(epoch, start, keys)
    last = {"kl": metrics["kl"][-1].mean()} if "kl" in metrics else {}
    return agent, optimiser_state, jax.tree.map(jnp.mean, metrics) | last | policy_metrics


def _only_if(going, new, old):
    """`new` where it goes on; but annealing follows the budget, whether or not a step is taken."""
    is_schedule = lambda x: isinstance(x, optax.ScaleByScheduleState)
    choose = lambda n, o: n if is_schedule(n) else jnp.where(going, n, o)
    return jax.tree.map(choose, new, old, is_leaf=is_schedule)


def _values_alone(agent, minibatch, config):
    value, _ = agent.critic.over(minibatch.obs, minibatch.start.critic, minibatch.done)
    error = value_loss(value, minibatch.value_target, minibatch.value, config.value_clip)
    return config.value_coefficient * error, {"value_loss": error}
