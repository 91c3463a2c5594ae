"""What the outer loop wants: adapted policies that do well, as a function of what is meta-learned.

Collect, then learn: the inner loops' episodes are stored. Here the inner steps are recomputed from
them, as a function of the initialisation and the update rule, and what they lead to is judged by
the episodes that came after. The outer loop differentiates that (see `outer_steps`).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import Samples, regression
from metarlhf.meta.inner import InnerLoop, step_and_policy
from metarlhf.meta.update_rules import LearnedRule, begin, update_rule
from metarlhf.networks import Agent, Critic, Distribution
from metarlhf.ppo.update import clipped_surrogate

Metrics = dict[str, Float[Array, ""]]
Learned = tuple[Agent, LearnedRule]

# Inner steps that are few: to keep all that is inside of them then costs less than to compute it
# again. A loop would copy what it keeps, so there is none.
FEW = 3


class Judged(NamedTuple):
    """What is said of inner steps: a number for each, which all but gains are to be small."""

    gain: Float[Array, "*task inner_step"]
    """What the policy after the step gains, to first order, on the one that collected after it."""
    clipped: Float[Array, "*task inner_step"]
    """The same as a loss, cut off where importance ratios are far from 1."""
    explored: Float[Array, "*task inner_step"]
    """What is gained, to first order, by what the step has sampled (e-maml; else nothing)."""
    explored_clipped: Float[Array, "*task inner_step"]
    """Likewise as a loss."""
    kl_before: Float[Array, "*task inner_step"]
    """KL from the policy that collected for the step to the one that takes it now, in nats."""
    kl_after: Float[Array, "*task inner_step"]
    """The same of the policies after the step."""


class Collected(NamedTuple):
    """What inner loops left to learn from, as in `InnerLoop`: leading dimensions (step, task).

    That of a few tasks can be learned from by itself (see `mean_over_tasks`).
    """

    support: Samples
    query: Samples
    came_of_it: Float[Array, "inner_step task"]
    """How much better than elsewhere it went after what each step had sampled (e-maml)."""


def collected(loop: InnerLoop, config: MetaRLConfig) -> Collected:
    """What the outer loop learns from."""
    return Collected(loop.support, loop.query, standardised_returns(loop.query, config))


def replay(
    learned: Learned, support: Samples, query: Samples, config: MetaRLConfig
) -> tuple[Distribution, Distribution]:
    """Recompute one task's inner steps, and what policies say to the episodes they collected.

    Returns that of the policies before each step to `support`, and of those after it to `query`.
    All have the inner step as leading dimension. Episodes between two steps are in both, and the
    policy goes through them once: for the step before, for the step after, and for its gradient.

    Where there are many steps, each is rematerialised: memory then grows with their number only by
    the parameters between them.
    """
    agent, learned_rule = learned
    rule = update_rule(learned_rule, config)

    def step(carry, support):
        agent, rule_state = carry
        agent, rule_state, policy = step_and_policy(agent, rule_state, support, rule, config)
        return (agent, rule_state), policy

    few = config.inner_steps <= FEW
    start = (agent, begin(rule, agent.actor, config))
    (agent, _), before = jax.lax.scan(
        step if few else jax.checkpoint(step), start, support, unroll=few
    )
    last = agent.actor(query.obs[-1])[0]
    after = jax.tree.map(lambda x, last: jnp.concatenate([x[1:], last[None]]), before, last)
    return before, after


def judge_step(
    before: Distribution,
    after: Distribution,
    support: Samples,
    query: Samples,
    came_of_it: Float[Array, ""],
    config: MetaRLConfig,
) -> Judged:
    """One step of one task, by what its policies say to `support` before and to `query` after it.

    `came_of_it` is how much better than elsewhere it went after what the step had sampled; e-maml
    alone reads it.
    """
    log_ratio = after.log_prob(query.action) - query.log_prob
    gain = jnp.mean(jnp.exp(log_ratio) * query.advantage)
    clipped = clipped_surrogate(log_ratio, query.advantage, config.clip)
    explored = explored_clipped = jnp.zeros(())
    if config.method == "e-maml":
        # Credit to all that was sampled for the step (Stadie et al. 2018, equation 6).
        log_ratio = before.log_prob(support.action) - support.log_prob
        credit = config.exploration_coefficient * came_of_it * support.weight
        explored = jnp.mean(jnp.exp(log_ratio) * credit)
        explored_clipped = clipped_surrogate(log_ratio, credit, config.clip)
    return Judged(
        gain,
        clipped,
        explored,
        explored_clipped,
        kl_from_collecting(support, before),
        kl_from_collecting(query, after),
    )


def kl_from_collecting(samples: Samples, policy: Distribution) -> Float[Array, ""]:
    """Mean KL from the policy that collected `samples` to what `policy` says to them, in nats."""
    return jnp.mean(samples.weight * samples.policy.kl(policy))


def replay_all(learned: Learned, data: Collected, config: MetaRLConfig) -> Judged:
    """Every task's steps judged: a pure function of what is learned and what was collected."""

    def one(task):
        policies = replay(learned, task.support, task.query, config)
        return jax.vmap(partial(judge_step, config=config))(*policies, *task)

    return jax.vmap(one, in_axes=1)(data)


def mean_value_loss(critic: Critic, query: Samples, config: MetaRLConfig) -> Float[Array, ""]:
    """The value function's regression on what came after the steps that count."""
    if not config.judge_every_step:
        query = jax.tree.map(lambda x: x[-1:], query)
    of_step = jax.vmap(partial(regression, critic))
    few = query.weight.shape[0] <= FEW
    losses = jax.vmap(of_step)(query) if few else jax.lax.map(jax.checkpoint(of_step), query)
    return losses.mean()


def standardised_returns(query: Samples, config: MetaRLConfig) -> Float[Array, "inner_step task"]:
    """What came of each step's samples, in standard deviations from the mean over the tasks.

    Their discounted return after the last step; with `judge_every_step` the mean over all steps,
    those before counting nothing.
    """
    returns = query.value_target[..., 0].mean(-1)
    came = jnp.broadcast_to(returns[-1], returns.shape)
    if config.judge_every_step:
        came = jnp.cumsum(returns[::-1], axis=0)[::-1] / len(returns)
    return (came - came.mean(-1, keepdims=True)) / (came.std(-1, keepdims=True) + 1e-8)


def gained(judged: Judged, config: MetaRLConfig) -> Float[Array, ""]:
    """Mean gain over the tasks: of the steps that count, and of what every step has sampled."""
    return over_steps(judged.gain, config) + judged.explored.sum(-1).mean()


def lost(judged: Judged, config: MetaRLConfig) -> Float[Array, ""]:
    """The same as a loss, with importance ratios cut off."""
    return over_steps(judged.clipped, config) + judged.explored_clipped.sum(-1).mean()


def over_steps(each: Float[Array, "*task inner_step"], config: MetaRLConfig) -> Float[Array, ""]:
    """The mean over tasks, of the last step or of all, as `config` says."""
    return jnp.mean(each if config.judge_every_step else each[..., -1])


def meta_loss(
    learned: Learned,
    data: Collected,
    kl_coefficient: Float[Array, " inner_step"],
    config: MetaRLConfig,
) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " inner_step"]]]:
    """ProMP's objective (Rothfuss et al. 2019, section 6), and each inner step's KL.

    E-MAML's credit to what was sampled stands beside what adapted policies gain. All are means over
    the tasks of `data`.
    """
    judged = replay_all(learned, data, config)
    kl = judged.kl_before.mean(0)
    surrogate = lost(judged, config)
    value_loss = mean_value_loss(learned[0].critic, data.query, config)
    loss = surrogate + jnp.sum(kl_coefficient * kl) + config.value_coefficient * value_loss
    return loss, ({"surrogate": surrogate, "value_loss": value_loss}, kl)
