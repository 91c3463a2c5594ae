"""Update rules are Optax transformations, and what is learned of them has the right gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf import envs
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import play_and_adapt
from metarlhf.meta.objective import collected, meta_loss
from metarlhf.meta.outer import init
from metarlhf.meta.update_rules import LearnedRule, add_offset, initial_rule, meta_sgd, update_rule
from metarlhf.networks import build_agent
from metarlhf.sampling import CompiledTaskSampler

PARAMS = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(3.0)}
GRADIENT = {"w": jnp.array([0.5, 2.0]), "b": jnp.array(-1.0)}


def run(rule, steps):
    """Updates of each step for the same gradient."""
    state, updates = rule.init(PARAMS), []
    for _ in range(steps):
        update, state = rule.update(GRADIENT, state, PARAMS)
        updates.append(update)
    return updates


def test_each_parameter_and_each_step_has_its_own_size_and_later_steps_the_last():
    multiples = {"w": jnp.array([[1.0, 2.0], [3.0, -1.0]]), "b": jnp.array([1.0, 0.5])}
    first, second, third = run(meta_sgd(multiples, 0.1), 3)
    np.testing.assert_allclose(first["w"], [-0.05, -0.4], rtol=1e-6)
    np.testing.assert_allclose(second["w"], [-0.15, 0.2], rtol=1e-6)
    np.testing.assert_allclose(second["b"], 0.05, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, second, third)


def test_an_offset_is_added_once_for_each_learned_step():
    offset = {"w": jnp.array([[1.0, -1.0]]), "b": jnp.array([2.0])}
    first, second = run(optax.chain(optax.sgd(0.1), add_offset(offset)), 2)
    plain = run(optax.sgd(0.1), 1)[0]
    np.testing.assert_allclose(first["w"] - plain["w"], [1.0, -1.0], rtol=1e-6)
    np.testing.assert_allclose(first["b"] - plain["b"], 2.0, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, second, plain)


@pytest.mark.parametrize("learned", ["none", "tensor", "parameter"])
def test_a_rule_starts_as_gradient_descent(learned):
    actor = build_agent(jax.random.key(0), envs.make("pendulum"), hidden=(4,)).actor
    config = MetaRLConfig(
        learn_inner_lr=learned, inner_lr=0.3, inner_steps=2, learn_offset=learned != "none"
    )
    initial = initial_rule(jax.random.key(9), actor, config)
    rule = update_rule(initial, config)
    gradient = jax.tree.map(lambda p: p + 1.0, actor)
    updates, _ = rule.update(gradient, rule.init(actor), actor)
    jax.tree.map(lambda u, g: np.testing.assert_allclose(u, -0.3 * g, rtol=1e-6), updates, gradient)
    if learned == "none":
        assert jax.tree.leaves(initial) == []
    else:
        sizes = [m.size for m in jax.tree.leaves(initial.multiples)]
        full = [2 * p.size for p in jax.tree.leaves(actor)]
        assert sizes == (full if learned == "parameter" else [2] * len(full))


@pytest.mark.parametrize("method", ["promp", "maml", "fomaml"])
def test_gradients_of_step_sizes_and_offsets_equal_finite_differences(method):
    """Through two inner steps on stored data, in double precision.

    First-order MAML stops the gradient of the first step's update in the second, so only what the
    last step learned has its true gradient there.
    """
    with jax.enable_x64(True):
        family = envs.make("navigation")
        config = MetaRLConfig(
            method=method, inner_steps=2, meta_batch=2, episodes=3, hidden=(5,), inner_lr=0.5,
            learn_offset=True,
        )  # fmt: skip
        state = init(jax.random.key(0), family, config)

        def double(tree):
            return jax.tree.map(
                lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, tree
            )

        agents = jax.tree.map(lambda x: jnp.stack([x, x]), state.agent)
        tasks = jnp.array([[0.3, 0.1], [-0.2, 0.4]], jnp.float32)
        loop = double(
            play_and_adapt(
                jax.random.key(1),
                CompiledTaskSampler(family),
                tasks,
                agents,
                state.rule,
                config,
                config.inner_steps,
            )
        )
        agent, rule = double((state.agent, state.rule))
        rest = (collected(loop, config), jnp.full(2, 1e-3), config)
        loss = jax.jit(lambda rule: meta_loss((agent, rule), *rest)[0])
        gradient = jax.grad(loss)(rule)
        direction = jax.tree.map(
            lambda x: jax.random.normal(jax.random.key(x.size), x.shape, x.dtype), rule
        )
        if method == "fomaml":
            direction = jax.tree.map(lambda d: d.at[:-1].set(0.0), direction)

        def moved(size):
            return jax.tree.map(lambda x, d: x + size * d, rule, direction)

        measured = (loss(moved(1e-5)) - loss(moved(-1e-5))) / 2e-5
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        claimed = sum(jax.tree.leaves(products))
        assert abs(measured) > 1e-4
        np.testing.assert_allclose(claimed, measured, rtol=1e-4)


def test_a_part_that_is_not_learned_is_none():
    actor = build_agent(jax.random.key(0), envs.make("navigation"), hidden=()).actor
    config = MetaRLConfig(learn_inner_lr="none", learn_offset=True)
    rule = initial_rule(jax.random.key(9), actor, config)
    assert isinstance(rule, LearnedRule)
    assert rule.multiples is rule.network is None
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(rule.offset))
