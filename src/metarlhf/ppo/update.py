"""One update of PPO: from a trajectory to advantages, losses, and minibatch gradient steps.

From top to bottom: advantages (`gae`), rewards in units of how much returns vary (`RewardScale`),
what an update learns from (`Batch`), the loss, and the passes of gradient steps (`update`). Numbers
of implementation details are those of Huang et al. 2022, "The 37 implementation details of proximal
policy optimization". What may take the place of clipping is in `ppo.objectives`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray, Shaped

from metarlhf.networks import Actor, Agent, Distribution, Moments
from metarlhf.networks.actor_critic import forget
from metarlhf.ppo.config import PPOConfig
from metarlhf.ppo.objectives import (
    Drift,
    constrained_step,
    discovered_surrogate,
    drifting_surrogate,
    fisher_products,
    kl_penalised_surrogate,
)
from metarlhf.types import Observation, State, Trajectory

Metrics = dict[str, Float[Array, ""]]


def gae(
    reward: Float[Array, "*batch time"],
    value: Float[Array, "*batch time"],
    next_value: Float[Array, "*batch time"],
    terminated: Bool[Array, "*batch time"],
    truncated: Bool[Array, "*batch time"],
    gamma: float,
    gae_lambda: float,
) -> Float[Array, "*batch time"]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16; core detail 5).

    `next_value[t]` is the value of what followed step t before any reset. A terminated episode is
    worth nothing from there on; a truncated one is worth `next_value`; neither passes anything back
    from the episode that comes after.
    """
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    keep = gamma * gae_lambda * (1.0 - (terminated | truncated))

    def back(advantage, step):
        delta, keep = step
        advantage = delta + keep * advantage
        return advantage, advantage

    time_first = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), (delta, keep))
    _, advantages = jax.lax.scan(back, jnp.zeros(delta.shape[:-1]), time_first, reverse=True)
    return jnp.moveaxis(advantages, 0, -1)


class RewardScale(eqx.Module):
    """Running discounted returns, environment by environment, and their moments over all time.

    Rewards are divided by the standard deviation of the returns ("reward scaling", Engstrom et al.
    2020; continuous-action details 8 and 9).
    """

    returns: Float[Array, " env"]
    moments: Moments

    @staticmethod
    def start(num_envs: int) -> "RewardScale":
        """Before the first reward."""
        return RewardScale(jnp.zeros(num_envs), Moments.of(jnp.zeros(())))

    def apply(
        self, trajectory: Trajectory, gamma: float, most: float = 10.0
    ) -> tuple[Trajectory, "RewardScale"]:
        """The trajectory in the new units, clipped to +-`most`, and the scale that has seen it.

        Rewards are divided, not shifted: a shift would change which policy is best where episodes
        end by themselves.
        """

        def step(returns, inputs):
            reward, done = inputs
            returns = gamma * returns + reward
            return jnp.where(done, 0.0, returns), returns

        time_first = (trajectory.reward.T, trajectory.done.T)
        last, seen = jax.lax.scan(step, self.returns, time_first)
        moments = self.moments.update(seen)
        std = jnp.sqrt(moments.mean_variance[1] + 1e-8)
        scaled = trajectory.with_reward(jnp.clip(trajectory.reward / std, -most, most))
        return scaled, RewardScale(last, moments)


class Memories(NamedTuple):
    """What policy and value function remember, environment by environment; None without memory."""

    actor: State
    critic: State


class Batch(eqx.Module):
    """What an update learns from, evaluated by the agent that collected it.

    Without memory the rows are steps, in any order. With one they are environments, each a sequence
    of steps that begins with what `start` says was remembered (LSTM details 4 and 5).
    """

    obs: Observation
    action: Shaped[Array, "..."]
    log_prob: Float[Array, "row *time"]
    advantage: Float[Array, "row *time"]
    value_target: Float[Array, "row *time"]
    value: Float[Array, "row *time"] | None
    """Of the old value function; None unless values are clipped."""
    policy: Distribution | None
    """Of the old policy; None unless the objective has an exact KL."""
    start: Memories
    done: Bool[Array, "row time"] | None


def make_batch(
    agent: Agent, trajectory: Trajectory, config: PPOConfig, critic_memory: State = None
) -> tuple[Batch, State]:
    """Estimate advantages of a trajectory.

    Args:
        agent: which collected it.
        trajectory: dimensions (env, time).
        config: how PPO learns.
        critic_memory: what the value function remembers at the first step.

    Returns:
        The batch, and what the value function remembers after the last step.
    """
    critic, ends = agent.value_function, trajectory.terminated | trajectory.truncated
    value, after = critic.over(trajectory.obs, critic_memory, ends)
    next_value = critic(trajectory.next_obs, after)
    advantage = gae(
        trajectory.reward,
        value,
        next_value,
        trajectory.terminated,
        trajectory.truncated,
        config.gamma,
        config.gae_lambda,
    )
    last = jax.tree.map(lambda x: x[:, -1], after)
    remembered = forget(ends[:, -1], critic.initial_state(), last)
    start = Memories(trajectory.memory, critic_memory)
    has_memory = agent.actor.body.memory is not None
    rows = (lambda x: x) if has_memory else (lambda x: x.reshape(-1, *x.shape[2:]))
    obs, done = jax.tree.map(rows, trajectory.obs), ends if has_memory else None
    needs_policy = config.objective in ("kl", "trpo")
    batch = Batch(
        obs=obs,
        action=rows(trajectory.action),
        log_prob=rows(trajectory.log_prob),
        advantage=rows(advantage),
        value_target=rows(advantage + value),
        value=rows(value) if config.value_clip else None,
        policy=agent.actor.rows_over(obs, start.actor, done) if needs_policy else None,
        start=start,
        done=done,
    )
    return batch, remembered


def explained_variance(batch: Batch) -> Float[Array, ""]:
    """1 - Var(target - value) / Var(target): 1 is perfect, 0 no better than a constant."""
    return 1.0 - jnp.var(batch.advantage) / (jnp.var(batch.value_target) + 1e-8)


def clipped_surrogate(
    log_ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float
) -> Float[Array, ""]:
    """-mean min(r A, clip(r, 1 - c, 1 + c) A): Schulman et al. 2017, equation 7; core detail 8."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))


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
    """Half the mean squared error; with `clip` > 0 the worse of that and of the error of the value
    within `clip` of the `old` one (as in OpenAI's baselines, ppo2; core detail 9).
    """
    error = (value - target) ** 2
    if clip:
        assert old is not None
        clipped = old + jnp.clip(value - old, -clip, clip)
        error = jnp.maximum(error, (clipped - target) ** 2)
    return 0.5 * jnp.mean(error)


def loss(
    agent: Agent,
    batch: Batch,
    config: PPOConfig,
    kl_coefficient: Float[Array, ""],
    drift: Drift | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """Policy, value and entropy losses of one minibatch (core detail 10), and what they are made of
    (core detail 12); a `drift` stands in the place of clipping.
    """
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
    """To mean 0 and standard deviation 1, of a minibatch (core detail 7)."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def natural_step(
    actor: Actor,
    batch: Batch,
    advantage: Float[Array, "row *time"],
    bound: float,
    entropy_coefficient: float = 0.0,
) -> tuple[Actor, Metrics]:
    """The policy after one step within `bound` nats, by the whole batch.

    Its surrogate is what the advantages promise, and an entropy bonus of so much weight.
    """
    old = batch.policy
    assert old is not None

    policy = lambda actor: actor.over(batch.obs, batch.start.actor, batch.done)
    divergence = lambda new: jnp.mean(old.kl(new))

    def gain_and_kl(actor):
        new = policy(actor)
        ratio = jnp.exp(new.log_prob(batch.action) - batch.log_prob)
        gain = jnp.mean(ratio * advantage)
        if entropy_coefficient:
            gain += entropy_coefficient * jnp.mean(new.entropy())
        return gain, divergence(new)

    gain = jax.value_and_grad(lambda actor: gain_and_kl(actor)[0])(actor)
    fisher = fisher_products(policy, divergence, actor)
    actor, metrics = constrained_step(actor, gain, fisher, gain_and_kl, bound)
    return actor, {
        "kl": metrics["kl"],
        "policy_loss": -metrics["surrogate"],
        "accepted": metrics["accepted"],
    }


def shuffle(key: PRNGKeyArray, count: int) -> Integer[Array, " step"]:
    """The numbers below `count` in random order, for minibatches (core detail 6).

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
    drift: Drift | None = None,
) -> tuple[Agent, optax.OptState, Metrics]:
    """`epochs` passes over `batch` in `minibatches` gradient steps each.

    With trpo the policy takes its one step first, from the whole batch; the passes are the value
    function's.

    Returns:
        The agent and its optimiser's state after the update, and the metrics: means over all
        gradient steps, but `kl` of the last pass alone, as it says how far the update went.
    """
    objective = lambda agent, minibatch: loss(agent, minibatch, config, kl_coefficient, drift)
    policy_metrics: Metrics = {}
    if config.objective == "trpo":
        advantage = standardise(batch.advantage) if config.normalise_advantage else batch.advantage
        actor, policy_metrics = natural_step(
            agent.actor, batch, advantage, config.kl_target, config.entropy_coefficient
        )
        agent = eqx.tree_at(lambda a: a.actor, agent, actor)
        objective = lambda agent, minibatch: _value_objective(agent, minibatch, config)

    def gradient_step(carry, minibatch):
        old, going = carry
        agent, optimiser_state = old
        gradient, metrics = jax.grad(objective, has_aux=True)(agent, minibatch)
        moves, optimiser_state = optimiser.update(gradient, optimiser_state, agent)
        new = (eqx.apply_updates(agent, moves), optimiser_state)
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


def _value_objective(agent, minibatch, config):
    """The value loss alone, with its metric: trpo's passes."""
    value, _ = agent.critic.over(minibatch.obs, minibatch.start.critic, minibatch.done)
    error = value_loss(value, minibatch.value_target, minibatch.value, config.value_clip)
    return config.value_coefficient * error, {"value_loss": error}
