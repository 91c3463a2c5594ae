"""A limit on cost: what is charged, and that PPO holds it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf.constraints import CHEAPER, MULTIPLIER_RATE, MULTIPLIER_START, Multiplier
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import collect, reset

KEY = jax.random.key(0)
FAMILY, GOAL = envs.make("navigation").without_termination(), jnp.array([0.4, 0.0])


def played():
    actor = ppo.new_agent(KEY, FAMILY, PPOConfig(hidden=(8,))).actor
    return collect(KEY, FAMILY, GOAL, actor, reset(KEY, FAMILY, GOAL, actor, 4), 20)[1]


def test_where_nothing_costs_anything_it_is_only_of_another_size():
    trajectory = played()
    paid, after = Multiplier.start().pay(trajectory, jnp.zeros((4, 20)), 0.1)
    np.testing.assert_allclose(paid.reward, trajectory.reward / (1 + MULTIPLIER_START), rtol=1e-6)
    assert float(after.value) == pytest.approx(MULTIPLIER_START - CHEAPER)


def test_cost_is_charged_and_what_is_left_stays_of_one_size():
    trajectory, cost = played(), jnp.zeros((4, 20)).at[1, 3].set(1.0)
    paid, _ = Multiplier(jnp.array(3.0)).pay(trajectory, cost, 0.1)
    expected = (np.asarray(trajectory.reward) - 3.0 * np.asarray(cost)) / 4.0
    np.testing.assert_allclose(paid.reward, expected, rtol=1e-5)
    np.testing.assert_array_equal(paid.task_reward, trajectory.task_reward)


@pytest.mark.parametrize(
    ("mean", "change"),
    [(0.1, 0.0), (0.15, 0.5 * MULTIPLIER_RATE), (9.0, MULTIPLIER_RATE), (0.0, -CHEAPER)],
)
def test_the_multiplier_climbs_by_what_is_beyond_the_limit(mean, change):
    before = Multiplier(jnp.array(2.0))
    after = before.pay(played(), jnp.full((4, 20), mean), 0.1)[1]
    assert float(after.value) == pytest.approx(2.0 + change, abs=1e-5)


def test_it_is_never_negative():
    after = Multiplier(jnp.array(0.5 * CHEAPER)).pay(played(), jnp.zeros((4, 20)), 0.1)[1]
    assert float(after.value) == 0.0


class Rightwards(envs.Navigation):
    """Pays for going to the right, without end."""

    def reward(self, obs, action, next_obs, task):
        return 10.0 * action[0]


def test_ppo_holds_a_limit_that_pay_alone_would_break():
    """Right of a half it may be in a tenth of its steps."""
    config = PPOConfig(num_envs=16, num_steps=50, hidden=(16,), lr=3e-3, gamma=0.9, anneal_lr=False)
    family = Rightwards(terminates=False)

    @partial(jax.jit, static_argnames="held")
    def cost_of(held):
        def update(carry, _):
            train, multiplier = carry
            train, trajectory = ppo.play(
                train, CompiledSampler(family, GOAL, config.num_envs), config
            )
            cost = (trajectory.obs[..., 0] > 0.5).astype(float)
            paid, multiplier = multiplier.pay(trajectory, cost, 0.1)
            train, _ = ppo.learn(train, paid if held else trajectory, config)
            return (train, multiplier), cost.mean()

        start = (
            ppo.init(KEY, CompiledSampler(family, GOAL, config.num_envs), config),
            Multiplier.start(),
        )
        return jax.lax.scan(update, start, length=150)[1][-30:].mean()

    assert float(cost_of(False)) > 0.8
    assert float(cost_of(True)) < 0.11
