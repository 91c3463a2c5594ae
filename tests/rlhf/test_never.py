"""Never this: what is looked over, what is learned from it, and that a policy is held to it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, rlhf
from metarlhf.feedback import cut
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig
from metarlhf.reward.config import CostConfig
from metarlhf.rlhf import NeverConfig, RLHFConfig, held_metrics
from metarlhf.rlhf.constraints import Forbids, look_over, true_cost
from metarlhf.sampling import CompiledSampler
from metarlhf.sampling.compiled import play_episodes
from tests.same import assert_same, differ

FAMILY, KEY = envs.make("navigation/hazard").without_termination(), jax.random.key(0)
TASK = FAMILY.sample(jax.random.key(3))
NEVER = NeverConfig(clips=8, limit=0.01, model=CostConfig(members=2, hidden=(8,), fit_steps=20))
SMALL = RLHFConfig(
    labels=4, rounds=2, candidates=20, updates=2, never=NEVER,
    ppo=PPOConfig(num_envs=4, num_steps=20, epochs=1, minibatches=2, hidden=(8,)),
)  # fmt: skip
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
    assert isinstance(FAMILY, Forbids)
    assert not isinstance(envs.make("navigation"), Forbids)


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
    never = look_over(KEY, state.never, shown, showable, FAMILY, TASK, 5)
    marks = never.marks
    np.testing.assert_array_equal(marks.weight, [1, 1, 1, 1, 1, 0, 0, 0])
    expected = true_cost(FAMILY, TASK, marks.clips.obs[:5], marks.clips.action[:5])
    np.testing.assert_array_equal(marks.forbidden[:5], np.asarray(expected) > 0)
    kept = {x.tobytes() for x in np.asarray(shown.obs)}
    assert all(x.tobytes() in kept for x in np.asarray(marks.clips.obs[:5]))
    assert differ(never.model, state.never.model)
    # None twice, and none that was looked over before, also where little else is left.
    few = showable & (jnp.cumsum(showable) <= 7)
    first = look_over(KEY, state.never, shown, few, FAMILY, TASK, 5)
    rest = look_over(jax.random.key(1), first, shown, few, FAMILY, TASK, 5).marks
    np.testing.assert_array_equal(rest.weight, [1, 1, 1, 1, 1, 1, 1, 0])
    assert len({x.tobytes() for x in np.asarray(rest.clips.obs[:7])}) == 7
    # No more than there is room for.
    full = look_over(KEY, never, shown, showable, FAMILY, TASK, 5).marks
    np.testing.assert_array_equal(full.weight, np.ones(8))
    np.testing.assert_array_equal(full.clips.obs[:5], marks.clips.obs[:5])


def test_where_nothing_can_be_shown_nothing_is_looked_over(state, clips):
    _, shown, showable = clips
    never = look_over(KEY, state.never, shown, showable & False, FAMILY, TASK, 5)
    assert_same(never.model, state.never.model)
    assert float(never.marks.weight.sum()) == 0


def test_before_anybody_has_looked_nothing_costs_anything(state, clips):
    trajectory, *_ = clips
    paid, after = state.never.pay(trajectory, NEVER)
    share = 1 / (1 + float(state.never.multiplier.value))
    np.testing.assert_allclose(paid.reward, share * trajectory.reward, rtol=1e-5)
    assert float(after.share) == 0.0
    assert float(after.multiplier.value) < float(state.never.multiplier.value)


def test_a_round_looks_over_its_share_and_charges_what_was_learned(state):
    after, metrics = run_round(state, sampler(SMALL), SMALL)
    assert float(after.never.marks.weight.sum()) == 4
    again = run_round(after, sampler(SMALL), SMALL)[0]
    assert float(again.never.marks.weight.sum()) == 8
    assert 0 <= float(metrics["cost"]) <= 1
    assert float(metrics["cost_multiplier"]) >= 0
    free = replace(SMALL, never=NeverConfig())
    plain = rlhf.from_scratch(KEY, sampler(free), free, FEW)
    assert plain.never is None
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
    assert held_metrics(state) == {"never_clips": 0, "never_marked": 0}
    after = run_round(state, sampler(SMALL), SMALL)[0]
    found, marks = held_metrics(after), after.never.marks
    assert found["never_clips"] == 4
    assert found["never_marked"] == int(np.asarray(marks.forbidden)[:4].any(1).sum())
    assert found["never_share"] == float(after.never.share)
    assert found["never_multiplier"] == float(after.never.multiplier.value)
    assert "leash_kl" not in found
