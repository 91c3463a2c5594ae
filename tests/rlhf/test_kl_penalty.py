"""A KL penalty: what straying costs, from whom, and that without one nothing differs."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo, rlhf
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.prior import GradientShape
from metarlhf.networks import build_agent
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig, LatentPosterior, LatentReward
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.constraints import KLPenalty
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import collect, reset
from tests.same import assert_same, differ

FAMILY = envs.make("navigation").without_termination()
GOAL, KEY = jnp.array([-0.4, 0.3]), jax.random.key(0)
SMALL = RLHFConfig(
    labels=4, rounds=2, ask_envs=2, candidates=20, updates=2,
    ppo=PPOConfig(num_envs=4, num_steps=20, epochs=1, minibatches=2, hidden=(8,)),
)  # fmt: skip
HELD = replace(SMALL, leash=0.05)
FEW = EnsembleConfig(members=2, hidden=(8,), fit_steps=10)


def sampler(config):
    return CompiledSampler(FAMILY, GOAL, config.ppo.num_envs)


run_round = jax.jit(rlhf.run_round, static_argnames=("config",))
practise = jax.jit(rlhf.optimise_policy, static_argnames=("config", "updates"))


def actor(seed, initial_std=1.0, memory=None):
    made = build_agent(
        jax.random.key(seed), FAMILY, (8,), initial_std=initial_std, memory=memory, memory_size=4
    ).actor
    last = lambda a: a.network.biases[-1]
    return eqx.tree_at(last, made, 0.3 * seed + last(made))


def played(policy, steps=500):
    start = reset(KEY, FAMILY, GOAL, policy, 16)
    return collect(KEY, FAMILY, GOAL, policy, start, steps)[1]


@pytest.mark.parametrize("memory", [None, "gru"])
def test_who_does_as_the_reference_pays_nothing(memory):
    policy = actor(0, memory=memory)
    trajectory = played(policy, 20)
    paid, after = KLPenalty.start(policy).apply(trajectory, 0.1)
    share = 1.0 / (1.0 + float(KLPenalty.start(policy).coefficient))
    np.testing.assert_allclose(paid.reward, trajectory.reward * share, atol=1e-5)
    np.testing.assert_array_equal(paid.task_reward, trajectory.task_reward)
    assert abs(float(after.kl)) < 1e-5
    assert float(after.coefficient) < float(KLPenalty.start(policy).coefficient)


def test_what_is_told_as_the_divergence_is_the_divergence():
    policy, reference = actor(1, 0.5), actor(0)
    trajectory = played(policy)
    _, after = KLPenalty.start(reference).apply(trajectory, 0.1)
    exact = policy.over(trajectory.obs).kl(reference.over(trajectory.obs)).mean()
    assert float(exact) > 0.3
    assert float(after.kl) == pytest.approx(float(exact), rel=0.05)
    assert_same(after.reference, reference)


@pytest.mark.parametrize(("target", "change"), [(1e-3, 1.2), (1e3, 0.8)])
def test_straying_gets_dearer_beyond_the_target_and_cheaper_below(target, change):
    penalty = KLPenalty.start(actor(0))
    after = penalty.apply(played(actor(1, 0.5), 20), target)[1]
    np.testing.assert_allclose(after.coefficient, change * penalty.coefficient, rtol=1e-5)


def test_a_policy_without_reward_comes_back_to_its_reference():
    """From a divergence of some tenths of a nat to a tenth of it."""
    config = PPOConfig(num_envs=16, num_steps=50, hidden=(8,), lr=3e-3, anneal_lr=False)
    agent = build_agent(KEY, FAMILY, (8,), initial_std=0.5)
    train = ppo.init(KEY, CompiledSampler(FAMILY, GOAL, config.num_envs), config, agent)

    @jax.jit
    def update(train, penalty):
        train, trajectory = ppo.play(train, CompiledSampler(FAMILY, GOAL, config.num_envs), config)
        unpaid = trajectory.with_reward(jnp.zeros_like(trajectory.reward))
        paid, penalty = penalty.apply(unpaid, 0.01)
        return ppo.learn(train, paid, config)[0], penalty

    penalty, found = KLPenalty.start(actor(1)), []
    for _ in range(60):
        train, penalty = update(train, penalty)
        found.append(float(penalty.kl))
    assert found[0] > 0.4
    assert np.mean(found[-5:]) < 0.1 * found[0]


def test_from_scratch_the_reference_is_who_played_what_was_asked_about():
    """And so the first update of a round is the same as without, but for the size of its pay."""
    state = rlhf.from_scratch(KEY, sampler(HELD), HELD, FEW)
    assert_same(state.kl_penalty.reference, state.ppo.agent.actor)
    after = run_round(state, sampler(HELD), HELD)[0]
    assert_same(after.kl_penalty.reference, state.ppo.agent.actor)
    again = run_round(after, sampler(HELD), HELD)[0]
    assert_same(again.kl_penalty.reference, after.ppo.agent.actor)
    later = practise(again, sampler(HELD), HELD, 1)[0]
    assert_same(later.kl_penalty.reference, again.kl_penalty.reference)
    assert differ(later.kl_penalty.coefficient, again.kl_penalty.coefficient)


def test_with_a_prior_the_reference_is_the_prior_told_what_is_believed():
    model = LatentReward(FAMILY, key=KEY, latent_size=3, num_features=6, hidden=(8,))
    model = eqx.tree_at(lambda m: m.decoder, model, jax.tree.map(lambda x: 8 * x, model.decoder))
    belief = LatentPosterior.prior(model, jax.random.normal(jax.random.key(1), (40, 3)))
    agent = build_agent(KEY, FAMILY, (8,), context_size=3)
    state = rlhf.start(KEY, sampler(HELD), agent, belief, HELD)
    after, metrics = run_round(state, sampler(HELD), HELD)
    reference = after.kl_penalty.reference
    assert_same(reference.network, agent.actor.network)
    assert differ(after.ppo.agent.actor.network, agent.actor.network)
    np.testing.assert_allclose(reference.context, after.belief.context(), rtol=1e-5)
    assert float(metrics["leash_kl"]) != 0


def test_without_a_leash_nothing_differs():
    """Not a leaf, not a bit: from one that costs nothing."""
    once = replace(SMALL, updates=1)
    plain = rlhf.from_scratch(KEY, sampler(once), once, FEW)
    assert (plain.kl_penalty, plain.checks, plain.cost_constraint) == (None, None, None)
    held = replace(once, leash=0.05)
    loose = rlhf.from_scratch(KEY, sampler(held), held, FEW)
    loose = eqx.tree_at(lambda s: s.kl_penalty.coefficient, loose, jnp.zeros(()))
    plain, metrics = run_round(plain, sampler(once), once)
    assert "leash_kl" not in metrics
    loose = run_round(loose, sampler(held), held)[0]
    assert_same(plain, eqx.tree_at(lambda s: s.kl_penalty, loose, None))


def test_gradient_steps_know_no_leash():
    shape = GradientShape("navigation", MetaRLConfig(hidden=(8,)))
    prior = shape.blank(KEY)
    with pytest.raises(ValueError, match="leash is about practice by PPO"):
        prior.adapt(KEY, FAMILY, GOAL, HELD, 1)
