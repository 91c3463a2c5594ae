"""Networks fitted to answers: from scratch, and by a few steps from an initialisation."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.feedback import Teacher
from metarlhf.feedback.teachers import Scale
from metarlhf.reward import ROBUST, Ensemble, EnsembleConfig, LearnedReward
from metarlhf.reward.ensemble import feedback_loss, fit_member
from metarlhf.reward.gradient import GradientReward
from metarlhf.reward.networks import RewardNetwork
from metarlhf.types import Comparison, Feedback, Rating, Trajectory
from tests.reward.walks import clips

FAMILY, KEY = envs.make("navigation"), jax.random.key(0)
CONFIG = EnsembleConfig(members=2, hidden=(16,), fit_steps=150, lr=1e-2)


def compared(seed, count):
    left, right = clips(seed, count), clips(seed + 1, count)
    scale = Scale.of(left.task_reward)
    preference, weight = Teacher().compare(KEY, left.task_reward, right.task_reward, scale)
    return Comparison(left, right, preference, weight)


def rated(seed, count):
    shown = clips(seed, count)
    marks = Teacher().rate(KEY, shown.task_reward, (-1.0, 0.0))
    return Rating(shown, marks, jnp.full(count, 10.0), jnp.ones(count))


def accuracy(belief, comparisons):
    difference = belief.clip_sums(comparisons.right) - belief.clip_sums(comparisons.left)
    return float(((difference.mean(0) > 0) == (comparisons.preference > 0.5)).mean())


@pytest.fixture(scope="module")
def untaught():
    return Ensemble.create(KEY, FAMILY, CONFIG)


@pytest.fixture(scope="module")
def taught(untaught):
    feedback = Feedback(compared(10, 60), rated(20, 60))
    return jax.jit(lambda e: e.adapt(KEY, feedback))(untaught)


def test_it_learns_to_compare_clips_it_has_not_seen(untaught, taught):
    fresh = compared(30, 300)
    assert accuracy(untaught, fresh) < 0.75
    assert accuracy(taught, fresh) > 0.85


def test_it_learns_to_place_clips_on_the_scale_of_marks(taught):
    fresh = rated(40, 300)
    predicted = taught.clip_sums(fresh.segment).mean(0) / 5
    error = np.asarray(predicted) - (np.asarray(fresh.value) - 0.5) / 10
    assert np.sqrt((error**2).mean()) < 0.12


def test_members_differ_and_their_mean_is_what_is_paid(taught):
    shown = clips(50, 8)
    sums = taught.clip_sums(shown)
    assert sums.shape == (2, 8)
    assert not np.allclose(sums[0], sums[1], atol=1e-3)
    paid = taught(shown.obs, shown.action).sum(-1)
    np.testing.assert_allclose(paid, np.asarray(taught.weight) @ np.asarray(sums), rtol=1e-4)
    assert taught.context().shape == (0,)
    assert taught.condition(jnp.array([1.0, -5.0])) is taught


def test_rows_without_an_answer_teach_nothing(untaught):
    """Neither in the loss nor in a fit; what stands in them is never looked at."""
    model = jax.tree.map(lambda x: x[0], untaught.models)
    answered = compared(10, 6)
    room = Comparison(clips(1, 10), clips(2, 10), jnp.zeros(10), jnp.zeros(10))
    padded = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), answered, room)
    none = Rating(clips(3, 0), *[jnp.zeros(0)] * 3)
    one, other = (
        feedback_loss(model, Feedback(comparisons, none)) for comparisons in (answered, padded)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)

    garbled = eqx.tree_at(lambda c: c.left.obs, padded, padded.left.obs.at[6:].set(1e3))
    short = replace(CONFIG, fit_steps=10)
    member = model, untaught.lapse_logit[0]
    fit = jax.jit(lambda told: fit_member(member, model, KEY, Feedback(told, none), short))
    jax.tree.map(np.testing.assert_array_equal, fit(padded), fit(garbled))


def wrong(comparisons, share):
    """The same, with the first of the answers turned round."""
    flipped = jnp.arange(len(comparisons.weight)) < share * len(comparisons.weight)
    turned = jnp.where(flipped, 1.0 - comparisons.preference, comparisons.preference)
    return eqx.tree_at(lambda c: c.preference, comparisons, turned)


def fitted(config, comparisons):
    none = Rating(clips(3, 0), *[jnp.zeros(0)] * 3)
    fit = jax.jit(lambda ensemble: ensemble.adapt(KEY, Feedback(comparisons, none)))
    return fit(Ensemble.create(KEY, FAMILY, config))


def share_of_guesses(ensemble):
    """Each member's, of the one person who answered."""
    return jax.nn.sigmoid(ensemble.lapse_logit[:, 0])


LONG = replace(ROBUST, hidden=(32, 32), fit_steps=800, lr=1e-2)
PLAIN = EnsembleConfig(hidden=(32, 32), fit_steps=800, lr=1e-2)


@pytest.fixture(scope="module")
def astray():
    """Three answers in ten are wrong."""
    told = wrong(compared(10, 80), 0.3)
    return told, fitted(LONG, told)


def test_wrong_answers_lead_it_astray_less_than_a_plain_fit(astray):
    told, robust = astray
    plain, fresh = fitted(PLAIN, told), compared(30, 300)
    assert accuracy(plain, told) > 0.95  # it has learned by heart what is wrong
    assert accuracy(robust, told) < 0.9
    assert accuracy(robust, fresh) > accuracy(plain, fresh) + 0.03


def test_how_many_answers_are_guesses_is_learned_from_them(astray):
    right = share_of_guesses(fitted(LONG, compared(10, 80)))
    assert (right < 0.06).all()
    assert (share_of_guesses(astray[1]) > 2.0 * right).all()


def test_an_assumed_share_of_guesses_stays():
    ensemble = fitted(replace(LONG, fit_steps=20, lapse_answers=None), compared(10, 20))
    np.testing.assert_allclose(share_of_guesses(ensemble), 0.1, rtol=1e-5)
    sure = fitted(replace(PLAIN, fit_steps=20), compared(10, 20))
    np.testing.assert_allclose(share_of_guesses(sure), 0.0, atol=1e-12)


def test_a_narrow_prior_holds_weights_where_they_began():
    narrow = fitted(replace(LONG, weight_spread=0.01, fit_steps=200), compared(10, 80))
    wide = fitted(replace(LONG, fit_steps=200), compared(10, 80))
    far = lambda e: sum(
        float(jnp.abs(now - before).mean())
        for now, before in zip(
            e.models.network.network.weights, e.begun.network.network.weights, strict=True
        )
    )
    assert far(narrow) < 0.2 * far(wide)


@pytest.mark.parametrize(
    ("name", "value"), [("weight_spread", 0.0), ("lapse", 1.0), ("lapse_answers", 0.0)]
)
def test_a_fit_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        EnsembleConfig(**{name: value})


def test_discrete_actions_are_told_apart():
    network = RewardNetwork(envs.make("cartpole"), key=KEY, hidden=(8,))
    obs = jnp.ones((2, 4))
    paid = network(obs, jnp.array([0, 1]))
    assert paid.shape == (2, 1)
    assert float(paid[0, 0]) != float(paid[1, 0])


def test_where_episodes_may_end_no_step_of_a_clip_is_worse_than_an_end(taught):
    """Paid below nothing on average, an agent would learn to end its episodes."""
    reference = clips(5, 40)
    paid = LearnedReward(taught, reference, may_end=True)
    as_is = LearnedReward(taught, reference)
    seen = taught(reference.obs, reference.action)
    each, usual = ((seen - r.offset) / r.std for r in (paid, as_is))
    np.testing.assert_allclose(each.min(), 0.0, atol=1e-5)
    np.testing.assert_allclose(usual.mean(), 0.0, atol=1e-4)
    np.testing.assert_allclose(each - usual, (each - usual).mean(), atol=1e-4)


def test_a_learned_reward_is_standardised_and_leaves_what_the_task_paid(taught):
    reference = clips(60, 40)
    reward = LearnedReward(taught, reference)
    no = jnp.zeros((40, 5), bool)
    trajectory = Trajectory(
        reference.obs, reference.action, jnp.zeros((40, 5)), reference.obs,
        reference.task_reward, reference.task_reward, no, no,
    )  # fmt: skip
    paid = reward(trajectory)
    np.testing.assert_allclose(paid.reward.mean(), 0.0, atol=1e-4)
    np.testing.assert_allclose(paid.reward.std(), 1.0, atol=1e-3)
    np.testing.assert_array_equal(paid.task_reward, reference.task_reward)
    assert np.corrcoef(np.ravel(paid.reward), np.ravel(paid.task_reward))[0, 1] > 0.8


def test_gradient_steps_are_those_of_a_plain_loop_and_start_anew_each_time():
    reward = GradientReward.create(KEY, FAMILY, members=2, hidden=(8,), steps=3, step_size=0.1)
    feedback = Feedback(compared(10, 8), rated(20, 4))
    adapt = jax.jit(lambda r: r.adapt(KEY, feedback))
    adapted = adapt(reward)
    gradient = jax.jit(jax.grad(lambda model: feedback_loss(model, feedback)))
    for member in range(2):
        model = jax.tree.map(lambda x: x[member], reward.initial)
        for _ in range(3):
            model = jax.tree.map(lambda w, g: w - 0.1 * g, model, gradient(model))
        mine = jax.tree.map(lambda x: x[member], adapted.adapted)
        for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(model), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, adapt(adapted).adapted, adapted.adapted)


def test_an_additive_ensemble_is_held_to_its_prior_too():
    """With a narrow prior nothing moves far, whichever network it is."""
    for network in ("mlp", "additive"):
        moved = []
        for spread in (0.01, 1.0):
            config = EnsembleConfig(2, network, (8,), weight_spread=spread)
            begun = Ensemble.create(jax.random.key(0), FAMILY, config)
            feedback = Feedback(compared(10, 20), rated(20, 0))
            found = jax.jit(Ensemble.adapt)(begun, KEY, feedback)
            far = jax.tree.map(
                lambda a, b: jnp.sum((a - b) ** 2), found.models.network, begun.models.network
            )
            moved.append(float(sum(jax.tree.leaves(far))))
        assert moved[0] < 0.2 * moved[1]
