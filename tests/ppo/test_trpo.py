"""TRPO: the direction is the natural gradient, and the bound on the KL is never exceeded."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from metarlhf import envs, ppo
from metarlhf.ppo.objectives import DAMPING, fisher_products
from metarlhf.ppo.update import make_batch, natural_step, standardise
from metarlhf.sampling import CompiledSampler

CONFIG = ppo.PPOConfig(
    objective="trpo", num_envs=4, num_steps=16, epochs=2, minibatches=2, hidden=(4,), kl_target=0.01
)


def test_what_trpo_has_no_use_for_is_refused():
    with pytest.raises(ValueError, match="kl_stop"):
        replace(CONFIG, kl_stop=0.1)


@pytest.mark.parametrize("collected", ["reacher"], indirect=True)
def test_the_entropy_bonus_is_part_of_the_surrogate(collected):
    """Where nothing is to be gained, the policy goes where it is more random."""
    actor, batch, advantage = collected
    nothing = jnp.zeros_like(advantage)
    moved, metrics = natural_step(actor, batch, nothing, 0.01, 1.0)
    entropy = lambda actor: float(
        actor.over(batch.obs, batch.start.actor, batch.done).entropy().mean()
    )
    assert entropy(moved) > entropy(actor)
    assert float(metrics["kl"]) <= 0.01


@pytest.fixture(scope="module", params=["cartpole", "reacher"])
def collected(request):
    family = envs.make(request.param)
    task = family.sample(jax.random.key(3))
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, CONFIG.num_envs), CONFIG)
    state, trajectory = jax.jit(
        lambda s: ppo.play(s, CompiledSampler(family, task, CONFIG.num_envs), CONFIG)
    )(state)
    reward = jax.random.normal(jax.random.key(1), trajectory.reward.shape)
    batch, _ = make_batch(state.agent, trajectory.with_reward(reward), CONFIG)
    return state.agent.actor, batch, standardise(batch.advantage)


def exact_kl(batch, actor):
    return float(jnp.mean(batch.policy.kl(actor.over(batch.obs))))


def surrogate(actor, batch, advantage):
    ratio = jnp.exp(actor.over(batch.obs).log_prob(batch.action) - batch.log_prob)
    return float(jnp.mean(ratio * advantage))


@pytest.mark.parametrize("bound", [1e-4, 0.01, 0.3])
def test_the_step_is_better_and_within_the_bound(collected, bound):
    actor, batch, advantage = collected
    moved, metrics = jax.jit(lambda: natural_step(actor, batch, advantage, bound))()
    assert float(metrics["accepted"]) == 1.0
    assert surrogate(moved, batch, advantage) > surrogate(actor, batch, advantage)
    kl = exact_kl(batch, moved)
    assert kl <= bound * 1.001
    assert kl > bound / 5
    np.testing.assert_allclose(float(metrics["kl"]), kl, rtol=0.02)


def test_the_direction_solves_the_fisher_system(collected):
    """Against the whole Fisher matrix, and a direct solver."""
    actor, batch, advantage = collected
    flat, unflatten = ravel_pytree(actor)

    def kl(x):
        return jnp.mean(batch.policy.kl(unflatten(x).over(batch.obs)))

    def objective(x):
        ratio = jnp.exp(unflatten(x).over(batch.obs).log_prob(batch.action) - batch.log_prob)
        return jnp.mean(ratio * advantage)

    fisher = np.asarray(jax.jit(jax.hessian(kl))(flat), float) + DAMPING * np.eye(len(flat))
    gradient = np.asarray(jax.grad(objective)(flat), float)
    expected = np.linalg.solve(fisher, gradient)
    moved, _ = jax.jit(lambda: natural_step(actor, batch, advantage, 1e-4))()
    step = np.asarray(ravel_pytree(moved)[0] - flat, float)
    cosine = step @ expected / np.linalg.norm(step) / np.linalg.norm(expected)
    assert cosine > 0.999


def test_products_are_those_of_the_kls_hessian(collected):
    """Forward over reverse mode through all, where the KL is at its minimum."""
    actor, batch, _ = collected
    policy = lambda actor: actor.over(batch.obs)
    divergence = lambda new: jnp.mean(batch.policy.kl(new))
    vector = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), actor)
    gradient = jax.grad(lambda actor: divergence(policy(actor)))
    expected = jax.jit(lambda: jax.jvp(gradient, (actor,), (vector,))[1])()
    found = jax.jit(lambda: fisher_products(policy, divergence, actor)(vector))()
    expected, found = (ravel_pytree(x)[0] for x in (expected, found))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * jnp.abs(expected).max())


def test_where_no_trial_is_better_the_policy_stays(collected):
    actor, batch, advantage = collected
    moved, metrics = natural_step(actor, batch, jnp.full_like(advantage, jnp.nan), 0.01)
    assert float(metrics["accepted"]) == 0.0
    for before, after in zip(jax.tree.leaves(actor), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(before, after)


def test_every_update_of_training_keeps_the_bound():
    family, task = envs.make("cartpole"), jnp.array(0.5)
    config = replace(CONFIG, num_envs=8, num_steps=64, hidden=(16,))
    state = ppo.init(jax.random.key(0), CompiledSampler(family, task, config.num_envs), config)
    _, metrics = ppo.iterate_many(state, CompiledSampler(family, task, config.num_envs), config, 20)
    assert float(metrics["kl"].max()) <= config.kl_target * 1.001
    assert float(metrics["accepted"].mean()) > 0.8
