"""Learning from many tasks at once, of which each counts as much."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from metarlhf import envs, optimise
from metarlhf.meta import conditioned
from metarlhf.networks import build_agent
from metarlhf.ppo import PPOConfig

FAMILY = envs.make("navigation").without_termination()
CONFIG = PPOConfig(hidden=(8,), epochs=1, minibatches=1, value_coefficient=0.0)


def test_a_task_that_pays_a_hundred_times_as_much_counts_no_more():
    """To a value function that says nothing, all advantages of that task are as much larger."""
    agent = build_agent(jax.random.key(0), FAMILY, CONFIG.hidden, context_size=2)
    agent = eqx.tree_at(lambda a: a.critic, agent, jax.tree.map(jnp.zeros_like, agent.critic))
    tasks = contexts = jnp.array([[0.4, 0.0], [-0.3, 0.3]])
    rule, untold = optax.sgd(1.0), agent.with_context(jnp.zeros(0))

    @jax.jit
    def learned(pay):
        played = conditioned.collect_tasks(jax.random.key(1), FAMILY, tasks, agent, contexts, 4)
        paid = played.with_reward(played.reward * pay[:, None, None])
        begin = optimise.begin(rule, untold)
        key = jax.random.key(2)
        return conditioned.learn(key, agent, begin, rule, paid, contexts, CONFIG)[0]

    one, other = learned(jnp.ones(2)), learned(jnp.array([100.0, 1.0]))
    moved = lambda after: after.actor.network.weights[0] - agent.actor.network.weights[0]
    assert float(jnp.abs(moved(one)).max()) > 1e-4
    np.testing.assert_allclose(moved(one), moved(other), rtol=0.01, atol=1e-6)
