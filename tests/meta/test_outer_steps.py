"""Outer steps: what bounds them, where they go, and what they set aside."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from benchmarks.rows.inner_step_memory import temporary_bytes
from metarlhf import envs
from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import gradient_step, play_and_adapt
from metarlhf.meta.outer_steps import trust_region_step
from metarlhf.meta.update_rules import update_rule
from metarlhf.networks import Agent
from metarlhf.ppo.objectives import DAMPING
from metarlhf.sampling import CompiledTaskSampler
from tests.same import assert_same, differ

FAMILY = envs.make("navigation")
SAMPLER = CompiledTaskSampler(FAMILY)
TASKS = jnp.array([[0.3, 0.1], [-0.2, 0.4], [0.1, -0.5]])
CONFIG = MetaRLConfig(
    inner_steps=2, meta_batch=3, episodes=4, hidden=(), inner_lr=0.3, outer_step="trpo",
    learn_inner_lr="tensor",
)  # fmt: skip


@pytest.fixture(scope="module")
def state():
    return outer.init(jax.random.key(0), FAMILY, CONFIG)


@pytest.fixture(scope="module")
def loop(state):
    agents = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), state.agent)
    play = partial(play_and_adapt, jax.random.key(1), SAMPLER, TASKS, agents)
    return jax.jit(lambda: play(state.rule, CONFIG, CONFIG.inner_steps))()


def judged(actor, rule, critic, loop, config, every_step=False):
    """Surrogate and KL of adapted policies, by plain loops over tasks and steps."""
    gains, kls = [], []
    rule = update_rule(rule, config)
    for task in range(3):
        agent, rule_state = Agent(actor, critic), rule.init(actor)
        for step in range(config.inner_steps):
            support, query = (
                jax.tree.map(lambda x: x[step, task], x) for x in (loop.support, loop.query)
            )
            agent, rule_state = gradient_step(agent, rule_state, support, rule, config)
            if every_step or step == config.inner_steps - 1:
                policy = agent.actor(query.obs)[0]
                ratio = jnp.exp(policy.log_prob(query.action) - query.log_prob)
                gains.append(jnp.mean(ratio * query.advantage))
                kls.append(jnp.mean(query.weight * query.policy.kl(policy)))
    return sum(gains) / len(gains), sum(kls) / len(kls)


step = jax.jit(trust_region_step, static_argnums=2)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("bound", [1e-3, 0.1])
def test_adapted_policies_are_better_and_within_the_bound(state, loop, bound, every_step):
    config = replace(CONFIG, kl_bound=bound, judge_every_step=every_step)
    after, metrics = step(state, loop, config)
    critic = state.agent.critic
    before, _ = judged(state.agent.actor, state.rule, critic, loop, config, every_step)
    gain, kl = judged(after.agent.actor, after.rule, critic, loop, config, every_step)
    assert float(metrics["accepted"]) == 1.0
    assert float(gain) > float(before)
    assert bound / 5 < float(kl) <= 1.001 * bound
    np.testing.assert_allclose(float(metrics["kl"]), float(kl), rtol=0.02)
    np.testing.assert_allclose(-float(metrics["surrogate"]), float(gain), rtol=0.02, atol=1e-5)
    # Policy, step sizes and value function all learn.
    assert differ(state.agent.actor, after.agent.actor)
    assert differ(state.rule, after.rule)
    assert differ(critic, after.agent.critic)


def test_the_direction_is_the_natural_gradient_of_adapting(state, loop):
    """Against the whole Hessian of the KL after adaptation, and a direct solver."""
    config = replace(CONFIG, kl_bound=1e-4)
    flat, unflatten = ravel_pytree((state.agent.actor, state.rule))
    at = jax.jit(lambda x: judged(*unflatten(x), state.agent.critic, loop, config))
    fisher = np.asarray(jax.hessian(lambda x: at(x)[1])(flat), float) + DAMPING * np.eye(len(flat))
    gradient = np.asarray(jax.grad(lambda x: at(x)[0])(flat), float)
    expected = np.linalg.solve(fisher, gradient)
    after, _ = step(state, loop, config)
    moved = np.asarray(ravel_pytree((after.agent.actor, after.rule))[0] - flat, float)
    cosine = moved @ expected / np.linalg.norm(moved) / np.linalg.norm(expected)
    assert cosine > 0.999


def test_where_nothing_is_better_all_but_the_value_function_stays(state, loop):
    nothing = replace(loop.query, advantage=jnp.full_like(loop.query.advantage, jnp.nan))
    after, metrics = step(state, loop._replace(query=nothing), CONFIG)
    assert float(metrics["accepted"]) == 0.0
    assert_same((state.agent.actor, state.rule), (after.agent.actor, after.rule))
    assert differ(state.agent.critic, after.agent.critic)


def test_meta_training_by_trust_regions_learns():
    """Far from the start, within the bound at every step."""
    config = replace(
        CONFIG, inner_steps=1, meta_batch=10, episodes=10, iterations=30, kl_bound=0.05
    )
    state = outer.init(jax.random.key(0), FAMILY, config)
    entries = [metrics for _, metrics in outer.meta_train(state, SAMPLER, config, every=10)]
    assert entries[-1]["return"] > entries[0]["return"] + 5
    assert all(entry["kl"] <= 1.001 * config.kl_bound for entry in entries)


@pytest.mark.parametrize("outer_step", ["adam", "trpo"])
def test_ten_inner_steps_set_aside_hardly_more_than_one(outer_step):
    """Without recomputing each step when going back, it is more than ten times as much."""
    config = MetaRLConfig(meta_batch=2, episodes=3, hidden=(32,), outer_step=outer_step)
    one, ten = (temporary_bytes(replace(config, inner_steps=steps)) for steps in (1, 10))
    assert ten < 3 * one
