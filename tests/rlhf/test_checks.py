"""Checks for over-optimisation: fresh answers, who is kept, and when training halts."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs, rlhf
from metarlhf.feedback import Teacher
from metarlhf.networks import build_agent
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig
from metarlhf.reward.calibration import predicted_preferences as expected
from metarlhf.rlhf import NeverConfig, RLHFConfig, WatchConfig
from metarlhf.rlhf.checks import after_check, compare, cut_pairs, play_both
from metarlhf.rlhf.state import CheckState
from metarlhf.sampling import CompiledSampler
from tests.same import AS_FOR_USERS, assert_same, differ

FAMILY = envs.make("navigation").without_termination()
GOAL, KEY = jnp.array([-0.4, 0.3]), jax.random.key(0)
WATCHED = RLHFConfig(
    labels=4, rounds=2, candidates=20, updates=1, final_updates=15,
    watch=WatchConfig(every=5, episodes=2, answers=3, budget=15),
    ppo=PPOConfig(num_envs=16, num_steps=40, epochs=2, minibatches=4, hidden=(8,)),
)  # fmt: skip
FEW = EnsembleConfig(members=2, hidden=(8,), fit_steps=10)


def sampler(config):
    return CompiledSampler(FAMILY, GOAL, config.ppo.num_envs)


run_round = jax.jit(rlhf.run_round, static_argnames=("config",))
final_part = jax.jit(rlhf.final_part, static_argnames=("config",))
as_for_users = partial(jax.jit, compiler_options=AS_FOR_USERS)
finish = as_for_users(rlhf.finish, static_argnames=("config",))


def heading(direction):
    """An agent that goes that way."""
    agent = build_agent(KEY, FAMILY, (8,))
    last = lambda a: a.actor.network.biases[-1]
    return eqx.tree_at(last, agent, last(agent) + jnp.asarray(direction))


GOOD, BAD = heading([-0.04, 0.03]), heading([0.4, -0.3])


@pytest.fixture(scope="module")
def taught():
    """After its rounds."""
    state = rlhf.from_scratch(KEY, sampler(WATCHED), WATCHED, FEW)
    for _ in range(WATCHED.rounds):
        state = run_round(state, sampler(WATCHED), WATCHED)[0]
    return state


def with_agent(state, agent):
    return eqx.tree_at(lambda s: s.ppo.agent, state, agent)


def asked(best, newest, count=2):
    return compare(KEY, *play_both(KEY, sampler(WATCHED), best, newest, count), Teacher())


def test_a_person_tells_which_of_two_policies_does_better():
    """By whole episodes."""
    good, bad = asked(BAD, GOOD), asked(GOOD, BAD)
    np.testing.assert_array_equal(good.preference, np.ones(2))
    np.testing.assert_array_equal(bad.preference, np.zeros(2))
    assert good.left.obs.shape == (2, FAMILY.horizon, 2)
    np.testing.assert_array_equal(asked(GOOD, GOOD).preference, np.full(2, 0.5))


def test_clips_are_of_one_time_in_both_episodes():
    """One in each eighth of an episode: as far from the start as the time says."""
    both = cut_pairs(KEY, *play_both(KEY, sampler(WATCHED), BAD, GOOD, 8), FAMILY.segment_length)
    assert both[0].obs.shape == (8, FAMILY.segment_length, 2)
    travelled = [np.linalg.norm(clip.obs[:, 0], axis=-1) for clip in both]
    times = travelled[0] / 0.05, travelled[1] / 0.005
    np.testing.assert_allclose(*times, rtol=0.05, atol=1.0)
    parts = np.floor(times[0] / (FAMILY.horizon - FAMILY.segment_length + 1) * 8)
    np.testing.assert_array_equal(parts, np.arange(8))


def test_reward_and_answers_part_where_one_likes_what_the_other_does_not(taught):
    """And only there does training halt; the best is who people like."""
    for best, newest, foreseen, parted in (
        (GOOD, BAD, True, True), (GOOD, BAD, False, False),
        (BAD, GOOD, True, False), (BAD, GOOD, False, False),
    ):  # fmt: skip
        found = asked(best, newest)
        belief = who_expects(taught.belief, found, foreseen)
        checks = after_check(CheckState.start(best), newest, found, belief, WATCHED.watch)
        assert (float(checks.foreseen) > 0.5) == foreseen
        assert (bool(checks.parted), bool(checks.halted)) == (parted, parted)
        assert_same(checks.best, GOOD)
        assert (int(checks.count), int(checks.asked)) == (1, 2)


def who_expects(belief, found, foreseen):
    """This belief, or its opposite: whose reward is the negative."""
    if bool(expected(belief, found).mean() > 0.5) == foreseen:
        return belief
    last = lambda b: (b.models.network.network.weights[-1], b.models.network.network.biases[-1])
    return eqx.tree_at(last, belief, replace_fn=lambda x: -x)


def test_patience_counts_checks_in_a_row(taught):
    belief = who_expects(taught.belief, asked(GOOD, BAD), True)
    config, halted = WatchConfig(every=1, patience=2, budget=99), []
    checks = CheckState.start(GOOD)
    for newest in (BAD, GOOD, BAD, BAD):
        checks = after_check(checks, newest, asked(GOOD, newest), belief, config)
        halted.append(bool(checks.halted))
    assert halted == [False, False, False, True]


def misled(state, config):
    """On the way from the good to the bad, by a reward that likes it."""
    state = with_agent(state, GOOD)
    belief = who_expects(state.belief, asked(GOOD, BAD), True)
    reward = eqx.tree_at(lambda r: r.belief, state.reward, belief)
    state = eqx.tree_at(lambda s: (s.belief, s.reward), state, (belief, reward))
    return state, replace(config, ppo=replace(config.ppo, lr=0.02))


def test_what_goes_wrong_is_stopped_and_the_best_kept(taught):
    state, config = misled(taught, WATCHED)
    astray = rlhf.optimise_policy(state, sampler(config), config, config.final_updates)[0]
    after = finish(state, sampler(config), config)
    assert float(asked(GOOD, astray.ppo.agent).preference.mean()) < 0.5
    assert bool(after.checks.halted)
    assert int(after.checks.count) < config.checks
    assert_same(after.ppo.agent, after.checks.best)
    assert float(asked(GOOD, after.ppo.agent).preference.mean()) >= 0.5


def test_nothing_happens_once_it_has_halted(taught):
    halted = eqx.tree_at(lambda s: s.checks.halted, taught, jnp.array(True))
    halted = eqx.tree_at(lambda s: s.checks.count, halted, jnp.array(1))
    halted = with_agent(halted, halted.checks.best)
    assert_same(final_part(halted, sampler(WATCHED), WATCHED)[0], halted)


@pytest.fixture(scope="module")
def asking():
    """The same, where it may be asked again, and misled."""
    asks = replace(WATCHED, watch=replace(WATCHED.watch, asks=True))
    state = rlhf.from_scratch(KEY, sampler(asks), asks, FEW)
    for _ in range(asks.rounds):
        state = run_round(state, sampler(asks), asks)[0]
    return misled(state, asks)


def test_it_may_be_asked_again(asking):
    """Where the newest is liked less: about clips of it, and practice goes on from the best."""
    state, config = asking
    said, lost = [4.0], []
    for _ in range(config.checks):
        before, state = (
            state,
            final_part(state, sampler(config), config)[0],
        )
        lost.append(float(state.checks.liked) < 0.5)
        said.append(float(state.answers.feedback.count))
        assert differ(state.belief, before.belief) == lost[-1]
        assert not (lost[-1] and differ(state.ppo.agent, state.checks.best))
    assert lost[0]
    np.testing.assert_array_equal(np.diff(said), 3.0 * np.array(lost))
    assert int(state.answers.count) == 4
    assert int(state.checks.asked) == 2 * config.checks + 3 * sum(lost)
    left, right = (x.obs[4:7] for x in (state.answers.feedback.comparisons.left,
                                        state.answers.feedback.comparisons.right))  # fmt: skip
    assert differ(left, right)


def test_practice_ends_with_the_last_answer_there_is(asking):
    """Nine are too few for a second check of up to five, where the first took all of them."""
    state, config = asking
    config = replace(config, watch=replace(config.watch, budget=9))
    after = finish(state, sampler(config), config)
    assert (int(after.checks.count), int(after.checks.asked)) == (1, 5)
    assert bool(after.checks.halted)
    assert int(after.ppo.updates) - int(state.ppo.updates) == 5
    assert_same(after.ppo.agent, after.checks.best)


def test_steps_of_checks_are_counted(taught):
    after = final_part(taught, sampler(WATCHED), WATCHED)[0]
    assert int(after.steps) - int(taught.steps) == 5 * 16 * 40 + 2 * 2 * FAMILY.horizon
    assert int(after.ppo.updates) - int(taught.ppo.updates) == 5


def test_a_watch_changes_nothing_before_it_begins(taught):
    plain = replace(WATCHED, watch=WatchConfig())
    state = rlhf.from_scratch(KEY, sampler(plain), plain, FEW)
    for _ in range(plain.rounds):
        state = run_round(state, sampler(plain), plain)[0]
    unwatched = eqx.tree_at(lambda s: s.checks, taught, None)
    assert_same(state, unwatched)
    assert_same(
        finish(state, sampler(plain), plain),
        as_for_users(rlhf.optimise_policy, static_argnames=("config", "updates"))(
            state, sampler(plain), plain, plain.final_updates
        )[0],
    )


def test_updates_that_nobody_would_look_at_are_refused():
    with pytest.raises(
        ValueError, match=r"final_updates is 7, which is no multiple of watch\.every"
    ):
        replace(WATCHED, final_updates=7)
    for bad in ({"every": -1}, {"answers": 0}, {"patience": 0}, {"budget": 0}):
        with pytest.raises(ValueError, match=r"watch\."):
            WatchConfig(**bad)


def test_what_would_watch_or_hold_nothing_is_refused():
    for idle in ({"asks": True}, {"budget": 30}):
        with pytest.raises(ValueError, match=rf"watch\.{next(iter(idle))} is about checks"):
            WatchConfig(**idle)
    for idle in ({"leash": 0.1}, {"never": NeverConfig(clips=4)}):
        with pytest.raises(ValueError, match="about practice by PPO, of which there is none"):
            RLHFConfig(**idle)
        assert RLHFConfig(**idle, updates=1).held_by == RLHFConfig(**idle, final_updates=2).held_by
    with pytest.raises(ValueError, match=r"watch\.every is about practice"):
        RLHFConfig(updates=2, watch=WatchConfig(every=1))
