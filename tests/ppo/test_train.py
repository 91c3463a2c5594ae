"""Training: it learns, stops, resumes bit for bit, and takes rewards from where it is told."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.sampling import CompiledSampler
from tests import same
from tests.same import AS_FOR_USERS, plain

CARTPOLE, POLE = envs.make("cartpole"), jnp.array(0.5)
# Room for five updates, and a rest that is none.
SMALL = ppo.PPOConfig(
    num_envs=4, num_steps=16, epochs=2, minibatches=2, hidden=(8,), total_steps=64 * 5 + 63,
    evaluate_every=2, evaluation_episodes=2,
)  # fmt: skip


def leaves(state):
    return [plain(x) for x in jax.tree.leaves(state)]


def first_weights(state):
    return np.asarray(state.agent.critic.network.weights[0])


def assert_same(one, other):
    assert len(leaves(one)) > 20
    same.assert_same(one, other)


@pytest.fixture(scope="module")
def start():
    return ppo.init(jax.random.key(0), CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL)


@partial(jax.jit, static_argnames="updates", compiler_options=AS_FOR_USERS)
def several(state, updates):
    return ppo.iterate_many(state, CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL, updates)[
        0
    ]


def test_two_updates_and_one_more_are_three(start, tmp_path):
    """Also when everything went through a file in between: the state is the whole truth."""
    whole = several(start, 3)
    assert int(whole.updates) == 3
    between = several(start, 2)
    data = eqx.tree_at(lambda s: s.key, between, jax.random.key_data(between.key))
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", data)
    blank = jax.tree.map(jnp.zeros_like, data)
    read = eqx.tree_deserialise_leaves(tmp_path / "state.eqx", blank)
    read = eqx.tree_at(lambda s: s.key, read, jax.random.wrap_key_data(read.key))
    assert_same(read, between)
    assert_same(several(read, 1), whole)


def test_the_same_key_gives_the_same_training_and_another_gives_another(start):
    again = ppo.init(jax.random.key(0), CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL)
    assert_same(several(again, 2), several(start, 2))
    other = several(
        ppo.init(jax.random.key(1), CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL), 2
    )
    assert not np.array_equal(first_weights(other), first_weights(several(start, 2)))


@pytest.fixture(scope="module")
def trained(start):
    return list(ppo.train(start, CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL))


def test_the_budget_is_spent_and_not_exceeded(trained):
    assert [entry["steps"] for _, entry in trained] == [64 * 2, 64 * 4, 64 * 5]


def test_training_goes_on_where_a_state_stands(trained):
    resumed = list(ppo.train(trained[0][0], CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL))
    assert len(resumed) == 2
    assert_same(resumed[-1][0], trained[-1][0])
    assert resumed[-1][1] == trained[-1][1]


def test_the_step_size_falls_to_zero_over_the_budget(trained):
    end = trained[-1][0]
    beyond = several(end, 1)
    assert int(beyond.updates) == 6
    for before, after in zip(leaves(end.agent), leaves(beyond.agent), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-8)
    assert not np.array_equal(first_weights(trained[0][0]), first_weights(end))


def test_a_policy_that_no_longer_gets_better_stops(start):
    """What counts as better is more than all there was: `patience` evaluations after the first."""
    config = replace(SMALL, evaluate_every=1, patience=2, tolerance=1.0)
    found = list(ppo.train(start, CompiledSampler(CARTPOLE, POLE, config.num_envs), config))
    assert len(found) == 3
    # Continued, it is not more patient than it was.
    returns = [metrics["return"] for _, metrics in found]
    again = list(
        ppo.train(
            found[1][0],
            CompiledSampler(CARTPOLE, POLE, config.num_envs),
            config,
            returns=returns[:2],
        )
    )
    assert [metrics["return"] for _, metrics in again] == returns[2:]
    assert not list(
        ppo.train(
            found[2][0], CompiledSampler(CARTPOLE, POLE, config.num_envs), config, returns=returns
        )
    )


@pytest.mark.parametrize(
    ("returns", "stops"),
    [
        ([0.0, 10.0], False),
        ([0.0, 10.0, 9.0, 8.0], True),
        ([0.0, 10.0, 9.0, 10.05], True),  # by less than a hundredth of the spread
        ([0.0, 10.0, 9.0, 10.2], False),
        ([-20.0, -10.0, -9.0, -8.0], False),
        ([5.0, 5.0, 5.0], True),
    ],
)
def test_convergence_is_no_gain_beyond_the_tolerance(returns, stops):
    rows = [{"return": value} for value in returns]
    assert ppo.has_converged(rows, replace(SMALL, patience=2)) is stops
    assert not ppo.has_converged(rows, replace(SMALL, patience=0))


def test_rewards_come_from_where_it_is_told(start):
    unpaid = lambda trajectory: trajectory.with_reward(0.0 * trajectory.reward)
    without, metrics = jax.jit(
        lambda s: ppo.iterate(s, CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL, unpaid)
    )(start)
    assert float(metrics["reward"]) == 0.0
    paid, metrics = ppo.iterate_many(
        start, CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL, 1
    )
    assert float(metrics["reward"][0]) == 1.0
    assert not np.array_equal(first_weights(paid), first_weights(without))


def test_training_takes_any_function_for_a_source_of_rewards(start):
    """A plain one, and a pytree whose arrays are its own."""

    class Scaled(eqx.Module):
        by: jax.Array

        def __call__(self, trajectory):
            return trajectory.with_reward(self.by * trajectory.reward)

    plain = lambda trajectory: trajectory.with_reward(3.0 * trajectory.reward)
    for source in (plain, Scaled(jnp.array(3.0))):
        _, metrics = next(
            ppo.train(start, CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL, source)
        )
        assert metrics["reward"] == 3.0


def test_seeds_train_side_by_side_as_they_do_alone():
    keys = jax.random.split(jax.random.key(3), 2)
    begin = lambda key: ppo.init(key, CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL)
    learn = lambda key: (
        ppo.iterate(begin(key), CompiledSampler(CARTPOLE, POLE, SMALL.num_envs), SMALL)[0].agent
    )
    together = leaves(jax.jit(jax.vmap(learn))(keys))
    for i, key in enumerate(keys):
        for one, all_ in zip(leaves(several(begin(key), 1).agent), together, strict=True):
            np.testing.assert_allclose(one, all_[i], atol=1e-5)


def test_it_learns_to_balance_a_pole():
    """From falling at once to nearly all of the 500 steps, in most of five seeds.

    Rounding, which differs from processor to processor, makes a seed another run: any one may fail.
    """
    config = ppo.PPOConfig(
        total_steps=262_144, num_envs=32, num_steps=128, lr=1e-3, minibatches=8, hidden=(32, 32),
        evaluate_every=64, evaluation_episodes=8,
    )  # fmt: skip
    returns = []
    for seed in range(5):
        state = ppo.init(
            jax.random.key(seed), CompiledSampler(CARTPOLE, POLE, config.num_envs), config
        )
        ((_, entry),) = list(
            ppo.train(state, CompiledSampler(CARTPOLE, POLE, config.num_envs), config)
        )
        returns.append(entry["return"])
    assert np.median(returns) > 450, returns


@pytest.mark.parametrize("objective", ["kl", "discovered"])
def test_it_learns_to_go_to_a_goal_without_clipping(objective):
    family, goal = envs.make("navigation").without_termination(), jnp.array([0.3, -0.4])
    config = ppo.PPOConfig(
        total_steps=64_000, num_envs=16, hidden=(32,), gamma=0.95, lr=3e-3, objective=objective,
        evaluate_every=40, evaluation_episodes=1,
    )  # fmt: skip
    state = ppo.init(jax.random.key(0), CompiledSampler(family, goal, config.num_envs), config)
    ((_, entry),) = list(ppo.train(state, CompiledSampler(family, goal, config.num_envs), config))
    # Standing still costs 50; the shortest way there costs about 2.
    assert entry["return"] > -8
