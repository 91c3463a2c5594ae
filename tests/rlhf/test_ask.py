"""Asking: within the budget, only about what may be shown, and the teacher's answers are kept."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.feedback import Teacher, empty
from metarlhf.ppo import PPOConfig
from metarlhf.reward import LatentPosterior, LatentReward
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import Answers, ask
from metarlhf.types import Segment

FAMILY, BOUNDS, KEY = envs.make("navigation"), (-1.0, 0.0), jax.random.key(0)
CONFIG = RLHFConfig(labels=8, rounds=2, candidates=30)
COUNT, LENGTH = 24, 4
compiled = jax.jit(ask, static_argnames=("bounds", "config"))


@pytest.fixture(scope="module")
def belief():
    model = LatentReward(FAMILY, key=KEY, latent_size=2, num_features=6, hidden=(8,))
    return LatentPosterior.prior(model, jax.random.normal(jax.random.key(1), (50, 2)))


@pytest.fixture(scope="module")
def clips():
    """Each clip's number is the first of its observations."""
    obs = jax.random.normal(jax.random.key(2), (COUNT, LENGTH, 2))
    obs = obs.at[:, 0, 0].set(jnp.arange(float(COUNT)))
    reward = -jax.random.uniform(jax.random.key(3), (COUNT, LENGTH))
    return Segment(obs, jnp.zeros((COUNT, LENGTH, 2)), reward)


def nothing(clips, config):
    rooms = (0, config.labels) if config.feedback == "ratings" else (config.labels, 0)
    return Answers(empty(clips[0], *rooms), jnp.zeros((), jnp.int32))


def asked(belief, clips, config=CONFIG, answers=None, showable=None, key=KEY):
    answers = nothing(clips, config) if answers is None else answers
    showable = jnp.ones(COUNT, bool) if showable is None else showable
    return compiled(key, belief, clips, showable, answers, bounds=BOUNDS, config=config)


def numbers(segment):
    return np.asarray(segment.obs[:, 0, 0], int)


def gains(belief, clips):
    """Information gain of every pair of clips, in nats."""
    sums = np.asarray(belief.clip_sums(clips), float)
    difference = sums[:, None, :] - sums[:, :, None]
    p = 1 / (1 + np.exp(-float(belief.sharpness) * difference))
    coin = lambda p: -(p * np.log(p) + (1 - p) * np.log(1 - p))
    return coin(p.mean(0)) - coin(p).mean(0)


def test_a_round_asks_its_share_and_all_rounds_the_budget(belief, clips):
    config = replace(CONFIG, labels=7)
    first = asked(belief, clips, config)
    assert int(first.count) == config.labels_per_round == 4
    second = asked(belief, clips, config, answers=first)
    third = asked(belief, clips, config, answers=second)
    assert int(second.count) == int(third.count) == 7
    assert float(third.feedback.count) == 7
    jax.tree.map(np.testing.assert_array_equal, third, second)
    # The first round's answers are still there.
    kept = second.feedback.comparisons.left.obs[:4]
    np.testing.assert_array_equal(kept, first.feedback.comparisons.left.obs[:4])


def test_answers_are_the_teachers(belief, clips):
    told = asked(belief, clips).feedback.comparisons
    left, right = told.left.task_reward.sum(-1)[:4], told.right.task_reward.sum(-1)[:4]
    np.testing.assert_array_equal(told.preference[:4], right > left)
    np.testing.assert_array_equal(told.weight, [1] * 4 + [0] * 4)
    assert (numbers(told.left)[:4] != numbers(told.right)[:4]).all()


def test_only_what_lies_in_one_episode_is_shown(belief, clips):
    showable = jnp.arange(COUNT) % 3 == 0
    told = asked(belief, clips, showable=showable).feedback.comparisons
    assert (numbers(told.left)[:4] % 3 == 0).all()
    assert (numbers(told.right)[:4] % 3 == 0).all()


def test_skipped_questions_cost_nothing_and_leave_no_answer(belief, clips):
    """All below the mean are skipped; the three that are not are soon found."""
    reward = jnp.full((COUNT, LENGTH), -1.0).at[:3].set(0.0)
    some = Segment(clips.obs, clips.action, reward)
    config = replace(CONFIG, teacher=Teacher(skip=1.0), strategy="uniform", candidates=1)
    for seed in range(3):
        told = asked(belief, some, config, key=jax.random.key(seed))
        comparisons = told.feedback.comparisons
        given = np.asarray(comparisons.weight) > 0
        assert int(told.count) == given.sum() <= 4
        shown = np.stack([numbers(comparisons.left), numbers(comparisons.right)])
        assert (shown.min(0)[given] < 3).all()


def test_the_question_asked_tells_most(belief, clips):
    """The first of all has the largest information gain of any pair, if all are considered."""
    config = replace(CONFIG, labels=1, rounds=1, candidates=20_000)
    told = asked(belief, clips, config).feedback.comparisons
    gain = gains(belief, clips)
    best = gain[numbers(told.left)[0], numbers(told.right)[0]]
    np.testing.assert_allclose(best, gain.max(), rtol=1e-3)


def test_marks_are_kept_as_given(belief, clips):
    config = replace(CONFIG, feedback="ratings")
    told = asked(belief, clips, config)
    marks = told.feedback.ratings
    expected = np.floor(10 * (1 + np.asarray(marks.segment.task_reward[:4]).mean(1))) + 1
    np.testing.assert_array_equal(marks.value[:4], expected)
    assert int(told.count) == 4
    assert told.feedback.comparisons.weight.shape == (0,)
    # The belief sharpens between questions: no clip need be asked about twice.
    assert len(set(numbers(marks.segment)[:4])) > 1


@pytest.mark.parametrize("levels", [3, 5, 10])
def test_marks_are_understood_on_the_scale_that_they_were_given_on(belief, clips, levels):
    """Of a person whom one particle describes exactly: whatever their scale, it fits them best."""
    model = eqx.tree_at(lambda m: m.log_rating_std, belief.model, jnp.log(0.02))
    sure = eqx.tree_at(lambda b: b.model, belief, model)
    # Rewards that put each clip on the scale just where that particle does.
    place = sure.clip_sums(clips)[7][:, None] / LENGTH
    wanted = Segment(clips.obs, clips.action, jnp.broadcast_to(place - 1.0, (COUNT, LENGTH)))
    config = replace(CONFIG, feedback="ratings", rounds=1, teacher=Teacher(levels=levels))
    told = asked(sure, wanted, config).feedback
    np.testing.assert_array_equal(told.ratings.levels, levels)
    assert set(np.asarray(told.ratings.value)) <= set(range(1, levels + 1))
    fits = np.asarray(sure.adapt(KEY, told).log_weight)
    assert fits[7] > fits.max() - 1.0


def test_a_skipped_question_is_not_put_again_in_its_round(belief, clips):
    """The question that tells most is about two clips too poor to judge: others are answered."""
    three = jnp.arange(COUNT) < 3
    gain = gains(belief, clips)[:3, :3]
    poor = np.unravel_index(gain.argmax(), gain.shape)
    reward = jnp.zeros((COUNT, LENGTH)).at[jnp.array(poor)].set(-1.0)
    some = Segment(clips.obs, clips.action, reward)
    config = replace(CONFIG, labels=2, rounds=1, candidates=300, teacher=Teacher(skip=1.0))
    assert int(asked(belief, some, config, showable=three).count) == 2


def test_without_a_budget_nothing_is_asked(belief, clips):
    told = asked(belief, clips, replace(CONFIG, labels=0))
    assert int(told.count) == 0
    assert float(told.feedback.count) == 0


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="labels must be 0 or more, but is -1"):
        RLHFConfig(labels=-1)
    with pytest.raises(ValueError, match="rounds must be at least 1, but is 0"):
        RLHFConfig(rounds=0)
    with pytest.raises(ValueError, match="updates must be 0 or more, but is -2"):
        RLHFConfig(updates=-2)
    with pytest.raises(ValueError, match=r"ppo\.total_steps is 9, but in RLHF steps follow"):
        RLHFConfig(ppo=PPOConfig(total_steps=9))
    with pytest.raises(ValueError, match=r"teacher\.skip is about comparisons"):
        RLHFConfig(feedback="ratings", teacher=Teacher(skip=0.1))


@pytest.mark.parametrize("feedback", ["comparisons", "ratings"])
def test_what_there_is_no_question_about_is_not_asked(belief, clips, feedback):
    """Two clips: one pair to compare, two to mark, however many answers are wanted."""
    config = replace(CONFIG, feedback=feedback, labels=5, rounds=1, candidates=300)
    told = asked(belief, clips, config, showable=jnp.arange(COUNT) < 2)
    expected = {"comparisons": 1, "ratings": 2}[feedback]
    assert int(told.count) == float(told.feedback.count) == expected


@pytest.mark.parametrize("feedback", ["comparisons", "ratings"])
def test_no_question_is_put_twice(belief, clips, feedback):
    """Of few clips and many candidates, so that the best would come again at once."""
    config = replace(CONFIG, feedback=feedback, labels=4, rounds=1, candidates=300)
    told = asked(belief, clips, config, showable=jnp.arange(COUNT) < 4).feedback
    if feedback == "ratings":
        assert sorted(numbers(told.ratings.segment)) == [0, 1, 2, 3]
    else:
        pairs = zip(numbers(told.comparisons.left), numbers(told.comparisons.right), strict=True)
        assert len(set(pairs)) == 4
