"""A reward over two features: blank where nothing was seen, and honest about doubt."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.explain import Feature, disagreement, features_of, grid
from metarlhf.explain.rewards import horizontal_first
from metarlhf.reward import Ensemble, EnsembleConfig
from tests.explain.made_up import FAMILY

FEATURES = features_of(FAMILY)
X = np.random.default_rng(3).uniform(-1, 1, (3000, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("one", "other", "across"),
    [("x", "y", "x"), ("y", "x", "x"), ("y", "move x", "move x"), ("x", "move y", "x"),
     ("move y", "y", "move y"), ("angle", "y", "angle"), ("speed", "angle", "speed")],
)  # fmt: skip
def test_to_the_right_is_what_is_called_so_and_otherwise_what_comes_first(one, other, across):
    first, last = horizontal_first((Feature(one, "", (0,)), Feature(other, "", (1,))))
    assert (first.name, {first.name, last.name}) == (across, {one, other})


def test_where_nothing_was_seen_nothing_is_said():
    half = X[X[:, 0] < X[:, 1]]
    found = grid(half, (FEATURES[0], FEATURES[1]), size=21)
    drawn = found.average(found.rows[:, 0])
    lower, upper = np.tril_indices(21, -4), np.triu_indices(21, 4)
    # Rows are y, columns x: x < y is where the row is the larger number.
    assert np.isfinite(drawn[lower]).mean() > 0.95
    assert np.isnan(drawn[upper]).all()
    assert found.density[lower].mean() > 5 * found.density[upper].mean()
    np.testing.assert_allclose(found.extent, [half[:, 0].min(), half[:, 0].max(),
                                              half[:, 1].min(), half[:, 1].max()])  # fmt: skip


def test_cells_hold_their_own_two_features_and_the_others_of_steps_seen_near():
    tied = X.copy()
    tied[:, 2] = tied[:, 0]  # says the same as x
    found = grid(tied, (FEATURES[0], FEATURES[1]), size=11)
    low, high = found.extent[:2]
    centres = low + (np.arange(11) + 0.5) / 11 * (high - low)
    drawn = found.average(found.rows[:, 0])
    np.testing.assert_allclose(drawn, np.broadcast_to(centres, (11, 11)), atol=1e-5)
    np.testing.assert_allclose(found.rows[:, 2], found.rows[:, 0], atol=0.15)


def test_a_choice_has_no_axis():
    cartpole = features_of(envs.make_family("cartpole"))
    with pytest.raises(ValueError, match="action is a choice of"):
        grid(np.zeros((5, 6), np.float32), (cartpole[0], cartpole[-1]))


def test_members_that_differ_by_an_offset_agree_and_others_do_not():
    config = EnsembleConfig(members=2, hidden=(8,))
    belief = Ensemble.create(jax.random.key(0), FAMILY, config)
    x = jnp.asarray(X[:200])
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf[0], leaf[0]]), belief)
    bias = lambda b: b.models.network.network.biases[-1]
    moved = eqx.tree_at(bias, twice, bias(twice) + jnp.array([[0.0], [5.0]]))
    np.testing.assert_allclose(disagreement(moved, FAMILY, x, x), 0.0, atol=1e-3)
    found = np.asarray(disagreement(belief, FAMILY, x, x))
    paid = np.stack([
        np.asarray(jax.tree.map(lambda leaf: leaf[i], belief.models)(x[:, :2], x[:, 2:]))
        for i in (0, 1)
    ])  # fmt: skip
    paid = paid - paid.mean(1, keepdims=True)
    np.testing.assert_allclose(found, paid.std(0) / paid.mean(0).std(), rtol=1e-3)
