"""What the outer loop wants: adapted policies that do well, as a function of what is meta-learned.

Collect, then learn: the inner loops' episodes are stored. Here the inner steps are recomputed from
them, as a function of the initialisation and the update rule, and what they lead to is judged by
the episodes that came after. The outer loop differentiates that (see `outer_steps`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metarlhf.meta.baseline import Samples, regression
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import InnerLoop, gradient_step
from metarlhf.meta.update_rules import LearnedRule, begin, update_rule
from metarlhf.networks import Agent
from metarlhf.ppo.objectives import clipped_surrogate

Metrics = dict[str, Float[Array, ""]]
Learned = tuple[Agent, LearnedRule]


class Judged(NamedTuple):
    """What is said of inner steps: a number for each, which all but `gain` are to be small."""

    gain: Float[Array, "*task inner_step"]
    """What the policy after the step gains, to first order, on the one that collected after it."""
    clipped: Float[Array, "*task inner_step"]
    """The same as a loss, cut off where importance ratios are far from 1."""
    kl_before: Float[Array, "*task inner_step"]
    """KL from the policy that collected for the step to the one that takes it now, in nats."""
    kl_after: Float[Array, "*task inner_step"]
    """The same of the policies after the step."""
    value_loss: Float[Array, "*task inner_step"]
    """The value function's regression on what came after the step."""


def replay(
    learned: Learned,
    support: Samples,
    query: Samples,
    came_of_it: Float[Array, " inner_step"],
    config: MetaRLConfig,
) -> Judged:
    """Recompute one task's inner steps from `support`, and judge what they lead to by `query`.

    Both have the inner step as leading dimension. `came_of_it` is how much better than elsewhere it
    went after what each step had sampled; e-maml alone reads it. Each step is rematerialised:
    memory grows with the number of steps only by the parameters between them.
    """
    agent, learned_rule = learned
    rule = update_rule(learned_rule, config)

    @jax.checkpoint
    def step(carry, data):
        agent, rule_state = carry
        support, query, came_of_it = data
        before = agent.actor(support.obs)[0]
        agent, rule_state = gradient_step(agent, rule_state, support, rule, config)
        after = agent.actor(query.obs)[0]
        log_ratio = after.log_prob(query.action) - query.log_prob
        gain = jnp.mean(jnp.exp(log_ratio) * query.advantage)
        clipped = clipped_surrogate(log_ratio, query.advantage, config.clip)
        if config.method == "e-maml":
            # Credit to all that was sampled for the step (Stadie et al. 2018, equation 6).
            log_ratio = before.log_prob(support.action) - support.log_prob
            credit = config.exploration_coefficient * came_of_it * support.weight
            gain += jnp.mean(jnp.exp(log_ratio) * credit)
            clipped += clipped_surrogate(log_ratio, credit, config.clip)
        return (agent, rule_state), Judged(
            gain,
            clipped,
            jnp.mean(support.weight * support.policy.kl(before)),
            jnp.mean(query.weight * query.policy.kl(after)),
            regression(agent.critic, query),
        )

    start = (agent, begin(rule, agent.actor, config))
    return jax.lax.scan(step, start, (support, query, came_of_it))[1]


def replay_all(learned: Learned, loop: InnerLoop, config: MetaRLConfig) -> Judged:
    """`replay` of every task: a pure function of what is learned and what was collected."""
    came_of_it = standardised_returns(loop.query, config)
    one = lambda support, query, came: replay(learned, support, query, came, config)
    by_task = lambda x: jnp.swapaxes(x, 0, 1)
    data = jax.tree.map(by_task, (loop.support, loop.query, came_of_it))
    return jax.lax.map(lambda data: one(*data), data, batch_size=config.tasks_at_once)


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


def over_steps(each: Float[Array, "*task inner_step"], config: MetaRLConfig) -> Float[Array, ""]:
    """The mean over tasks, of the last step or of all, as `config` says."""
    return jnp.mean(each if config.judge_every_step else each[..., -1])


def meta_loss(
    learned: Learned,
    loop: InnerLoop,
    kl_coefficient: Float[Array, " inner_step"],
    config: MetaRLConfig,
) -> tuple[Float[Array, ""], tuple[Metrics, Float[Array, " inner_step"]]]:
    """ProMP's objective (Rothfuss et al. 2019, section 6), and each inner step's KL.

    E-MAML's credit to what was sampled stands beside what adapted policies gain.
    """
    judged = replay_all(learned, loop, config)
    kl = judged.kl_before.mean(0)
    surrogate, value_loss = (
        over_steps(each, config) for each in (judged.clipped, judged.value_loss)
    )
    loss = surrogate + jnp.sum(kl_coefficient * kl) + config.value_coefficient * value_loss
    return loss, ({"surrogate": surrogate, "value_loss": value_loss}, kl)
