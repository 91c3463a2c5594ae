"""A cost constraint: marks, the cost model, its multiplier, and that PPO keeps the limit."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, ppo, rlhf
from metarlhf.feedback import cut
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig
from metarlhf.reward.config import CostConfig
from metarlhf.rlhf import NeverConfig, RLHFConfig, constraint_metrics
from metarlhf.rlhf.constraints import (
    MULTIPLIER_RATE,
    MULTIPLIER_START,
    SLOWER,
    CostFamily,
    LagrangeMultiplier,
    mark_clips,
    true_cost,
)
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import collect, play_episodes, reset
from tests.same import assert_same, differ

FAMILY, KEY = envs.make("navigation/hazard").without_termination(), jax.random.key(0)
TASK = FAMILY.sample(jax.random.key(3))
NEVER = NeverConfig(clips=8, limit=0.01, model=CostConfig(members=2, hidden=(8,), fit_steps=20))
SMALL = RLHFConfig(
    labels=4, rounds=2, candidates=20, updates=2, never=NEVER,
    ppo=PPOConfig(num_envs=4, num_steps=20, epochs=1, minibatches=2, hidden=(8,)),
)  # fmt: skip
PLAIN, GOAL = envs.make("navigation").without_termination(), jnp.array([0.4, 0.0])
FEW = EnsembleConfig(members=2, hidden=(8,), fit_steps=10)


def sampler(config):
    return CompiledSampler(FAMILY, TASK, config.ppo.num_envs)


run_round = jax.jit(rlhf.run_round, static_argnames=("config",))


@pytest.fixture(scope="module")
def state():
    return rlhf.from_scratch(KEY, sampler(SMALL), SMALL, FEW)


@pytest.fixture(scope="module")
def clips(state):
    trajectory = play_episodes(KEY, FAMILY, TASK, state.ppo.agent.actor, 16)
    return trajectory, *cut(trajectory, FAMILY.segment_length, 5)


def test_what_is_forbidden_is_where_a_step_leads(clips):
    trajectory, *_ = clips
    found = true_cost(FAMILY, TASK, trajectory.obs, trajectory.action)
    within = np.linalg.norm(np.asarray(trajectory.next_obs - TASK[2:]), axis=-1) < FAMILY.radius
    assert within.any()
    np.testing.assert_array_equal(np.asarray(found) > 0, within)
    assert isinstance(FAMILY, CostFamily)
    assert not isinstance(envs.make("navigation"), CostFamily)


def test_the_straight_way_to_any_goal_leads_through_what_is_forbidden():
    tasks = jax.vmap(FAMILY.sample)(jax.random.split(KEY, 200))
    along = np.linspace(0, 1, 200)[:, None]
    for task in np.asarray(tasks):
        goal, centre = task[:2], task[2:]
        assert (np.linalg.norm(along * goal - centre, axis=-1) < FAMILY.radius).any()
        for place in (goal, np.zeros(2)):
            assert np.linalg.norm(place - centre) > FAMILY.radius


def test_a_person_marks_every_step_that_must_never_be_and_no_other(state, clips):
    _, shown, showable = clips
    never = mark_clips(KEY, state.cost_constraint, shown, showable, FAMILY, TASK, 5)
    marks = never.marks
    np.testing.assert_array_equal(marks.weight, [1, 1, 1, 1, 1, 0, 0, 0])
    expected = true_cost(FAMILY, TASK, marks.clips.obs[:5], marks.clips.action[:5])
    np.testing.assert_array_equal(marks.forbidden[:5], np.asarray(expected) > 0)
    kept = {x.tobytes() for x in np.asarray(shown.obs)}
    assert all(x.tobytes() in kept for x in np.asarray(marks.clips.obs[:5]))
    assert differ(never.model, state.cost_constraint.model)
    # None twice, and none that was looked over before, also where little else is left.
    few = showable & (jnp.cumsum(showable) <= 7)
    first = mark_clips(KEY, state.cost_constraint, shown, few, FAMILY, TASK, 5)
    rest = mark_clips(jax.random.key(1), first, shown, few, FAMILY, TASK, 5).marks
    np.testing.assert_array_equal(rest.weight, [1, 1, 1, 1, 1, 1, 1, 0])
    assert len({x.tobytes() for x in np.asarray(rest.clips.obs[:7])}) == 7
    # No more than there is room for.
    full = mark_clips(KEY, never, shown, showable, FAMILY, TASK, 5).marks
    np.testing.assert_array_equal(full.weight, np.ones(8))
    np.testing.assert_array_equal(full.clips.obs[:5], marks.clips.obs[:5])


def test_where_nothing_can_be_shown_nothing_is_looked_over(state, clips):
    _, shown, showable = clips
    never = mark_clips(KEY, state.cost_constraint, shown, showable & False, FAMILY, TASK, 5)
    assert_same(never.model, state.cost_constraint.model)
    assert float(never.marks.weight.sum()) == 0


def test_before_anybody_has_looked_nothing_costs_anything(state, clips):
    trajectory, *_ = clips
    paid, after = state.cost_constraint.apply(trajectory, NEVER)
    share = 1 / (1 + float(state.cost_constraint.multiplier.value))
    np.testing.assert_allclose(paid.reward, share * trajectory.reward, rtol=1e-5)
    assert float(after.mean_cost) == 0.0
    assert float(after.multiplier.value) < float(state.cost_constraint.multiplier.value)


def test_a_round_looks_over_its_share_and_charges_what_was_learned(state):
    after, metrics = run_round(state, sampler(SMALL), SMALL)
    assert float(after.cost_constraint.marks.weight.sum()) == 4
    again = run_round(after, sampler(SMALL), SMALL)[0]
    assert float(again.cost_constraint.marks.weight.sum()) == 8
    assert 0 <= float(metrics["cost"]) <= 1
    assert float(metrics["cost_multiplier"]) >= 0
    free = replace(SMALL, never=NeverConfig())
    plain = rlhf.from_scratch(KEY, sampler(free), free, FEW)
    assert plain.cost_constraint is None
    assert_same(
        run_round(plain, sampler(free), free)[0].answers,
        after.answers,
    )


def test_where_nothing_is_forbidden_nobody_can_mark_it():
    family = envs.make("navigation").without_termination()
    state = rlhf.from_scratch(
        KEY, CompiledSampler(family, TASK[:2], SMALL.ppo.num_envs), SMALL, FEW
    )
    with pytest.raises(TypeError, match="nothing is forbidden in navigation"):
        rlhf.run_round(state, CompiledSampler(family, TASK[:2], SMALL.ppo.num_envs), SMALL)


def test_bad_limits_are_refused():
    for bad in ({"clips": -1}, {"limit": 0.0}, {"limit": float("inf")}):
        with pytest.raises(ValueError, match=r"never\."):
            NeverConfig(**bad)


def test_what_would_hold_nothing_is_refused():
    for idle in ({"limit": 0.01}, {"model": CostConfig(members=2)}):
        with pytest.raises(ValueError, match=r"never\.clips is 0: nobody looks anything over"):
            NeverConfig(**idle)
        assert NeverConfig(clips=1, **idle).clips == 1


def test_what_was_marked_and_how_far_it_held_are_told_as_numbers(state):
    assert constraint_metrics(state) == {"never_clips": 0, "never_marked": 0}
    after = run_round(state, sampler(SMALL), SMALL)[0]
    found, marks = constraint_metrics(after), after.cost_constraint.marks
    assert found["never_clips"] == 4
    assert found["never_marked"] == int(np.asarray(marks.forbidden)[:4].any(1).sum())
    assert found["never_share"] == float(after.cost_constraint.mean_cost)
    assert found["never_multiplier"] == float(after.cost_constraint.multiplier.value)
    assert "leash_kl" not in found


def played():
    actor = ppo.new_agent(KEY, PLAIN, PPOConfig(hidden=(8,))).actor
    return collect(KEY, PLAIN, GOAL, actor, reset(KEY, PLAIN, GOAL, actor, 4), 20)[1]


def test_where_nothing_costs_anything_it_is_only_of_another_size():
    trajectory = played()
    paid, after = LagrangeMultiplier.start().apply(trajectory, jnp.zeros((4, 20)), 0.1)
    np.testing.assert_allclose(paid.reward, trajectory.reward / (1 + MULTIPLIER_START), rtol=1e-6)
    assert float(after.value) == pytest.approx(MULTIPLIER_START - SLOWER)


def test_cost_is_charged_and_what_is_left_stays_of_one_size():
    trajectory, cost = played(), jnp.zeros((4, 20)).at[1, 3].set(1.0)
    paid, _ = LagrangeMultiplier(jnp.array(3.0)).apply(trajectory, cost, 0.1)
    expected = (np.asarray(trajectory.reward) - 3.0 * np.asarray(cost)) / 4.0
    np.testing.assert_allclose(paid.reward, expected, rtol=1e-5)
    np.testing.assert_array_equal(paid.task_reward, trajectory.task_reward)


@pytest.mark.parametrize(
    ("mean", "change"),
    [
        (0.1, 0.0),
        (0.15, 0.5 * MULTIPLIER_RATE),
        (9.0, MULTIPLIER_RATE),
        (0.0, -SLOWER),
    ],
)
def test_the_multiplier_climbs_by_what_is_beyond_the_limit(mean, change):
    before = LagrangeMultiplier(jnp.array(2.0))
    after = before.apply(played(), jnp.full((4, 20), mean), 0.1)[1]
    assert float(after.value) == pytest.approx(2.0 + change, abs=1e-5)


def test_it_is_never_negative():
    after = LagrangeMultiplier(jnp.array(0.5 * SLOWER)).apply(played(), jnp.zeros((4, 20)), 0.1)[1]
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
            paid, multiplier = multiplier.apply(trajectory, cost, 0.1)
            train, _ = ppo.learn(train, paid if held else trajectory, config)
            return (train, multiplier), cost.mean()

        start = (
            ppo.init(KEY, CompiledSampler(family, GOAL, config.num_envs), config),
            LagrangeMultiplier.start(),
        )
        return jax.lax.scan(update, start, length=150)[1][-30:].mean()

    assert float(cost_of(False)) > 0.8
    assert float(cost_of(True)) < 0.11
