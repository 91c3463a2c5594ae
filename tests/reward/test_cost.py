"""A cost learned from marks: who is marked is dear, who is not is not, and doubt is dear too."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.reward.config import CostConfig
from metarlhf.reward.cost import CostModel, Marks
from tests.reward.walks import scattered

KEY, FAMILY = jax.random.key(0), envs.make("navigation")
CONFIG = CostConfig(hidden=(32,), fit_steps=400)


def clips(seed, count):
    return scattered(seed, count, length=10)


def marked(seen, weight):
    """To the right of 0.6 nobody may be: a fifth of all steps."""
    return Marks(seen, seen.obs[..., 0] > 0.6, jnp.asarray(weight, jnp.float32))


def likelihood(model, at):
    return np.asarray(model.by_member(at.obs, at.action).mean(0))


@pytest.fixture(scope="module")
def fitted():
    model = CostModel.create(KEY, FAMILY, CONFIG)
    return jax.jit(lambda m, marks: m.adapt(KEY, marks))(model, marked(clips(0, 60), np.ones(60)))


def test_steps_that_were_never_seen_cost_what_marked_ones_like_them_do(fitted):
    at = clips(1, 50)
    p, x = likelihood(fitted, at), np.asarray(at.obs[..., 0])
    assert p[x > 0.75].min() > 0.5
    assert p[x < 0.45].max() < 0.5
    assert p[x > 0.75].mean() > 0.9
    assert p[x < 0.45].mean() < 0.05


def test_probabilities_are_those_of_a_mark_though_marks_are_drawn_more_often(fitted):
    at = clips(2, 200)
    share = float((at.obs[..., 0] > 0.6).mean())
    assert likelihood(fitted, at).mean() == pytest.approx(share, rel=0.15)


def test_doubt_is_dear(fitted):
    at = clips(1, 50)
    each = np.asarray(fitted.by_member(at.obs, at.action))
    expected = np.minimum(each.mean(0) + each.std(0), 1.0)
    np.testing.assert_allclose(fitted(at.obs, at.action), expected, atol=1e-6)
    bold = CostModel(fitted.networks, replace(CONFIG, caution=0.0))
    np.testing.assert_allclose(bold(at.obs, at.action), each.mean(0), atol=1e-6)


def test_clips_that_nobody_looked_over_teach_nothing(fitted):
    model = CostModel.create(KEY, FAMILY, CONFIG)
    same = model.adapt(KEY, marked(clips(0, 60), np.zeros(60)))
    jax.tree.map(np.testing.assert_array_equal, same, model)
    # Those of weight 0 are all forbidden, as far as their rows say.
    seen, weight = clips(0, 80), np.arange(80) < 60
    marks = marked(seen, weight)
    marks = Marks(seen, marks.forbidden | (marks.weight[:, None] == 0), marks.weight)
    p, x = likelihood(model.adapt(KEY, marks), clips(1, 50)), np.asarray(clips(1, 50).obs[..., 0])
    assert p[x < 0.45].mean() < 0.05


def test_where_nothing_was_marked_all_gets_cheap():
    model = CostModel.create(KEY, FAMILY, CONFIG)
    seen = clips(0, 60)
    calm = model.adapt(KEY, Marks(seen, jnp.zeros((60, 10), bool), jnp.ones(60)))
    assert likelihood(calm, clips(1, 50)).max() < 0.05


def test_bad_values_are_refused():
    for bad in ({"members": 0}, {"fit_steps": 0}, {"caution": -1.0}, {"caution": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            CostConfig(**bad)
