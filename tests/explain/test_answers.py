"""What was expected of each answer."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from metarlhf.explain import explain_answers
from metarlhf.feedback import blank
from metarlhf.reward import Ensemble, EnsembleConfig, Learned
from metarlhf.types import Comparison, Feedback, Rating, Segment
from tests.explain.made_up import FAMILY

KEY = jax.random.key(0)


def clips(seed, count):
    keys = jax.random.split(jax.random.key(seed))
    shape = (count, FAMILY.segment_length, 2)
    obs, action = (jax.random.uniform(key, shape, minval=-1, maxval=1) for key in keys)
    return Segment(obs, action, jnp.zeros(shape[:2]))


def test_expectations_are_those_of_the_members_and_skips_are_left_out():
    before = Ensemble.create(KEY, FAMILY, EnsembleConfig(members=2, hidden=(8,)))
    after = eqx.tree_at(
        lambda b: b.models.network.network.weights[-1], before,
        3 * before.models.network.network.weights[-1],
    )  # fmt: skip
    left, right, shown = clips(1, 3), clips(2, 3), clips(3, 2)
    feedback = Feedback(
        Comparison(left, right, jnp.array([0.0, 1.0, 0.5]), jnp.array([1.0, 0.0, 1.0])),
        Rating(shown, jnp.array([2.0, 7.0]), jnp.array([4.0, 10.0]), jnp.ones(2)),
    )
    found = explain_answers(Learned(before, after, feedback, blank(FAMILY, 0), FAMILY))
    assert [one.number for one in found] == [1, 2, 3, 4]
    assert [one.answer for one in found] == [0.0, 0.5, 2.0, 7.0]
    assert [one.levels for one in found] == [None, None, 4, 10]
    np.testing.assert_array_equal(found[1].clips[0], left.obs[2])
    for belief, expected in ((before, found[1].before), (after, found[1].after)):
        difference = np.asarray(belief.clip_sums(right) - belief.clip_sums(left))[:, 2]
        np.testing.assert_allclose(expected, (1 / (1 + np.exp(-difference))).mean(), rtol=1e-4)
    assert all(1 <= one.before <= one.levels for one in found[2:])
    one = found[0]
    np.testing.assert_allclose(one.error_before, one.before)
    np.testing.assert_allclose(one.improvement, one.before - one.after, atol=1e-6)


def test_a_mark_that_is_surely_foreseen_is_expected():
    """A reward that stands in the middle of a level, with little doubt about marks."""
    belief = Ensemble.create(KEY, FAMILY, EnsembleConfig(members=1, hidden=(8,)))
    network = lambda b: (b.models.network.network.weights[-1], b.models.network.network.biases[-1])
    level = jnp.full((1, 1), 0.65)
    still = eqx.tree_at(network, belief, (jnp.zeros_like(network(belief)[0]), level))
    sure = eqx.tree_at(lambda b: b.models.log_rating_std, still, jnp.full(1, -5.0))
    said = Rating(clips(4, 1), jnp.array([7.0]), jnp.array([10.0]), jnp.ones(1))
    none = clips(5, 0)
    nothing = Comparison(none, none, jnp.zeros(0), jnp.zeros(0))
    learned = Learned(belief, sure, Feedback(nothing, said), blank(FAMILY, 0), FAMILY)
    assert abs(explain_answers(learned)[0].after - 7) < 0.1
