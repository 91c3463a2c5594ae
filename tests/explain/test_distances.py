"""Distances of rewards: what shaping, scale and offset may not change, and what has to show."""

import equinox as eqx
import jax
import numpy as np
import pytest

from metarlhf.explain import TaskReward, dard_canonical, epic_canonical, pearson_distance
from metarlhf.explain.steps import collect_transitions
from tests.explain.made_up import FAMILY, Quadratic, Shaped

KEY, DISCOUNT = jax.random.key(0), 0.9
TASK = FAMILY.sample(KEY)


class Negative(eqx.Module):
    reward: eqx.Module

    def __call__(self, obs, action, next_obs):
        return -self.reward(obs, action, next_obs)


class Noise(eqx.Module):
    """Something else: so steep that neighbouring steps are paid without a pattern."""

    def __call__(self, obs, action, next_obs):
        return jax.numpy.sin(1e4 * action[..., 0] + 3e4 * action[..., 1])


@pytest.fixture(scope="module")
def steps():
    found = collect_transitions(KEY, FAMILY, TASK, None, 6)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:400], found)


def forms(steps):
    epic = lambda reward: np.asarray(epic_canonical(KEY, reward, FAMILY, steps, DISCOUNT))
    dard = lambda reward: np.asarray(dard_canonical(KEY, reward, FAMILY, TASK, steps, DISCOUNT))
    return {"epic": epic, "dard": dard}


@pytest.mark.parametrize("kind", ["epic", "dard"])
def test_what_leaves_the_best_policy_alone_is_no_distance(steps, kind):
    form = forms(steps)[kind]
    reward = Quadratic()
    plain, shaped = form(reward), form(Shaped(reward, 0.4, DISCOUNT))
    assert pearson_distance(plain, shaped) < 0.01
    steps_alone = Shaped(reward, 0.4, DISCOUNT)(steps.obs, steps.action, steps.next_obs)
    paid = reward(steps.obs, steps.action, steps.next_obs)
    assert pearson_distance(np.asarray(paid), np.asarray(steps_alone)) > 0.03
    assert pearson_distance(plain, form(Shaped(reward, 0.4, 0.0))) > 0.03  # no potential's shaping


@pytest.mark.parametrize("kind", ["epic", "dard"])
def test_the_opposite_is_farthest_and_what_has_nothing_to_do_with_it_is_between(steps, kind):
    form = forms(steps)[kind]
    plain = form(TaskReward(TASK, FAMILY))
    assert pearson_distance(plain, plain) < 1e-3
    assert pearson_distance(plain, form(Negative(TaskReward(TASK, FAMILY)))) == pytest.approx(
        1, abs=1e-3
    )
    assert pearson_distance(plain, form(Noise())) == pytest.approx(0.5**0.5, abs=0.06)


def test_the_true_reward_is_what_the_simulator_paid(steps):
    paid = TaskReward(TASK, FAMILY)(steps.obs, steps.action, steps.next_obs)
    np.testing.assert_allclose(
        paid, -np.linalg.norm(np.asarray(steps.next_obs - TASK), axis=-1), atol=1e-5
    )


def test_states_are_those_that_observations_come_from(steps):
    np.testing.assert_array_equal(steps.state.position, steps.obs)
    np.testing.assert_array_equal(steps.next_state.position, steps.next_obs)
    np.testing.assert_array_equal(steps.obs[1:100], steps.next_obs[:99])
