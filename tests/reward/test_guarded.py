"""Paid with care: less where members disagree, and within what was judged."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.reward import Ensemble, EnsembleConfig, LatentPosterior, LatentReward, LearnedReward
from metarlhf.reward.gradient import GradientReward
from metarlhf.types import Comparison, Feedback, Rating
from tests.reward.walks import scattered

KEY, FAMILY = jax.random.key(0), envs.make("navigation")
MODEL = LatentReward(FAMILY, key=KEY, latent_size=2, num_features=4, hidden=(8,))
BELIEFS = {
    "ensemble": Ensemble.create(KEY, FAMILY, EnsembleConfig(members=3, hidden=(8,))),
    "gradient": GradientReward.create(KEY, FAMILY, members=3, hidden=(8,)),
    "latent": LatentPosterior(
        MODEL, jax.random.normal(KEY, (5, 2)), jnp.array([0.0, -1.0, 0.5, 2.0, -3.0])
    ),
}


def said(weights, mark=0.0):
    """Comparisons with these weights, and one mark."""
    weight = jnp.asarray(weights, jnp.float32)
    count = len(weights)
    compared = Comparison(scattered(1, count), scattered(2, count), jnp.ones(count), weight)
    one = jnp.ones(1)
    return Feedback(compared, Rating(scattered(3, 1), one, 10.0 * one, mark * one))


def unstandardised(reward, at):
    return np.asarray(reward.of(at.obs, at.action) * reward.std + reward.offset)


def members(belief, at):
    """Each member's reward of each step, one step at a time."""
    paid = np.zeros((len(belief.weight), *at.task_reward.shape))
    for clip, step in np.ndindex(at.task_reward.shape):
        paid[:, clip, step] = belief.clip_sums(at[clip : clip + 1, step : step + 1])[:, 0]
    return paid


@pytest.mark.parametrize("kind", BELIEFS)
def test_pessimism_takes_off_so_many_standard_deviations_of_the_members(kind):
    belief, reference, at = BELIEFS[kind], scattered(0, 20), scattered(9, 4)
    plain = unstandardised(LearnedReward(belief, reference), at)
    careful = unstandardised(LearnedReward(belief, reference, pessimism=1.5), at)
    usual = members(belief, reference).mean((1, 2))
    beyond = members(belief, at) - usual[:, None, None]
    weight = np.asarray(belief.weight)
    mean = np.tensordot(weight, beyond, 1)
    std = np.sqrt(np.tensordot(weight, (beyond - mean) ** 2, 1))
    assert std.min() > 0
    np.testing.assert_allclose(plain - careful, 1.5 * std, atol=1e-4)


def test_members_do_not_disagree_by_having_other_offsets():
    """Comparisons do not say what they are."""
    belief, reference, at = BELIEFS["ensemble"], scattered(0, 20), scattered(9, 4)
    last = lambda b: b.models.network.layers.biases[-1]
    shifted = eqx.tree_at(last, belief, last(belief) + jnp.array([[3.0], [-2.0], [0.0]]))
    paid = [LearnedReward(b, reference, pessimism=2.0) for b in (belief, shifted)]
    first, second = (np.asarray(reward.of(at.obs, at.action)) for reward in paid)
    np.testing.assert_allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("pessimism", [0.0, 1.0])
def test_no_step_is_paid_beyond_what_judged_steps_are(pessimism):
    """Clips that were skipped, or never asked about, bound nothing."""
    belief, reference, at = BELIEFS["ensemble"], scattered(0, 20), scattered(9, 50, size=5.0)
    free = LearnedReward(belief, reference, pessimism=pessimism)
    feedback = said([1.0, 0.0, 0.0], mark=1.0)
    held = LearnedReward(belief, reference, pessimism=pessimism, clip_to=feedback)
    judged = [feedback.comparisons.left[:1], feedback.comparisons.right[:1]]
    judged = np.concatenate([unstandardised(free, c) for c in (*judged, feedback.ratings.segment)])
    unheld = unstandardised(free, at)
    assert unheld.max() > judged.max()
    assert unheld.min() < judged.min()
    expected = np.clip(unheld, judged.min(), judged.max())
    np.testing.assert_allclose(unstandardised(held, at), expected, atol=1e-4)


def test_before_the_first_answer_nothing_is_clipped_and_all_is_finite():
    belief, reference, at = BELIEFS["ensemble"], scattered(0, 20), scattered(9, 50, size=5.0)
    free, held = (LearnedReward(belief, reference, clip_to=said) for said in (None, said([0.0])))
    np.testing.assert_allclose(held.of(at.obs, at.action), free.of(at.obs, at.action), atol=1e-5)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(held.bounds))


def test_where_episodes_may_end_no_step_of_a_clip_is_paid_less_than_an_end():
    belief, reference = BELIEFS["ensemble"], scattered(0, 20)
    reward = LearnedReward(belief, reference, True, 2.0, said([1.0]))
    paid = reward.of(reference.obs, reference.action)
    np.testing.assert_allclose(paid.min(), 0.0, atol=1e-5)


def test_one_network_alone_cannot_be_pessimistic():
    alone = Ensemble.create(KEY, FAMILY, EnsembleConfig(members=1, hidden=(8,)))
    with pytest.raises(ValueError, match="at least two members"):
        LearnedReward(alone, scattered(0, 20), pessimism=1.0)
