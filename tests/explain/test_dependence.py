"""Features that follow from others, beside ones made so."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.explain import (
    RewardOfInputs,
    SubstitutedReward,
    completeness_error,
    features_of,
    fidelity,
    find_dependent,
    inputs_of,
    integrated_gradients,
    substitute_dependent,
)
from metarlhf.explain.attribution import relative_importance, sum_by_feature
from metarlhf.explain.steps import collect_transitions

FAMILY = envs.make("reacher")
FEATURES = features_of(FAMILY)
NAMES = [feature.name for feature in FEATURES]
EQUAL = np.full(len(NAMES), 1 / len(NAMES))


@pytest.fixture(scope="module")
def x():
    task = FAMILY.sample(jax.random.key(0))
    played = collect_transitions(jax.random.key(0), FAMILY, task, None, 12)
    return inputs_of(FAMILY, np.asarray(played.obs), np.asarray(played.action))


class Near(eqx.Module):
    """Squared distance to (0.3, -0.2), its square of the fingertip's place by the elbow alone."""

    def __call__(self, obs, action, next_obs):
        elbow, x, y = obs[..., 2], obs[..., 6], obs[..., 7]
        return -((1 + elbow) / 2 - 0.6 * x + 0.4 * y + 0.13)


def weights(*names):
    """Those count, in this order."""
    importance = np.zeros(len(NAMES))
    importance[[NAMES.index(name) for name in names]] = 2.0 ** -np.arange(len(names))
    return importance / importance.sum()


def test_the_elbow_follows_from_where_the_fingertip_is(x):
    said, terms = find_dependent(x, FEATURES, weights("fingertip x", "fingertip y", "cos elbow"))
    ((feature, of, r2),) = said
    assert feature.name == "cos elbow"
    assert {f.name for f in of} == {"fingertip x", "fingertip y"}
    assert r2 > 0.999
    again = np.asarray(terms(jnp.asarray(x)))
    np.testing.assert_allclose(again, x, atol=1e-4)
    # It is told from the others: what it says itself makes no difference, the rest is let be.
    other = x.copy()
    other[:, NAMES.index("cos elbow")] = 7.0
    np.testing.assert_allclose(terms(jnp.asarray(other)), again, atol=1e-4)


def test_a_reward_that_looks_at_the_elbow_wants_the_fingertip_somewhere(x):
    """By gradients, what the true distance in the fingertip's place alone gives."""
    pays = RewardOfInputs(Near(), FAMILY)
    steps = jnp.asarray(x[::7])
    share = lambda found: relative_importance(sum_by_feature(np.asarray(found.parts), FEATURES))
    looked_at = share(integrated_gradients(pays, steps, steps[:4]))
    assert looked_at[NAMES.index("cos elbow")] > 0.2
    _, terms = find_dependent(x, FEATURES, looked_at)
    found = integrated_gradients(SubstitutedReward(pays, terms), steps, steps[:4])
    assert max(completeness_error(found)) < 1e-3
    place = jnp.asarray([6, 7])
    distance = lambda x: -jnp.sum((x[..., place] - jnp.array([0.3, -0.2])) ** 2, -1)
    expected = share(integrated_gradients(distance, steps, steps[:4]))
    np.testing.assert_allclose(share(found), expected, atol=0.02)
    assert share(found)[NAMES.index("cos elbow")] == 0.0


def test_what_may_vary_by_itself_follows_from_nothing():
    family = envs.make("navigation")
    task = family.sample(jax.random.key(0))
    played = collect_transitions(jax.random.key(0), family, task, None, 12)
    x = inputs_of(family, np.asarray(played.obs), np.asarray(played.action))
    said, terms = find_dependent(x, features_of(family), np.full(4, 0.25))
    assert said == []
    np.testing.assert_array_equal(terms(jnp.asarray(x)), jnp.asarray(x))


def test_what_does_not_count_is_left_alone(x):
    said, _ = find_dependent(x, FEATURES, weights("fingertip x", "fingertip y"))
    assert said == []


def test_sources_are_those_that_are_needed_and_never_follow_themselves():
    """Of four: c = a b, d = c + a; whatever the order, what follows is told by what does not."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2000))
    x = np.zeros((2000, len(NAMES)), np.float32)
    x[:, :4] = np.stack([a, b, a * b, a * b + a], axis=1)
    said, terms = find_dependent(x, FEATURES, weights(*NAMES[:4]))
    assert {one.feature.name: [f.name for f in one.sources] for one in said} == {
        NAMES[2]: [NAMES[0], NAMES[1]],
        NAMES[3]: [NAMES[0], NAMES[1]],
    }
    np.testing.assert_allclose(terms(jnp.asarray(x)), x, atol=1e-4)


def test_where_a_reward_lives_on_the_difference_nothing_follows():
    """Of b = a and a little: what is paid for b - a cannot be told from a."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, len(NAMES))).astype(np.float32)
    x[:, 1] = x[:, 0] + 0.02 * x[:, 1]
    importance = weights(*NAMES[:2])
    said, terms = find_dependent(x, FEATURES, importance)
    assert [one.feature.name for one in said] == [NAMES[1]]
    apart = lambda x: 30 * (x[..., 1] - x[..., 0]) + 0.3 * x[..., 0]
    assert fidelity(apart, terms, x) < 0.9
    assert substitute_dependent(apart, x, FEATURES, importance)[0] == []
    both = lambda x: x[..., 1] + x[..., 0]
    assert fidelity(both, terms, x) > 0.99
    assert substitute_dependent(both, x, FEATURES, importance)[0] == said


@pytest.mark.parametrize("count", [5, 40, 60])
def test_of_few_steps_no_chance_is_taken_for_a_rule(count):
    x = np.random.default_rng(0).normal(size=(count, len(NAMES)))
    assert find_dependent(x, FEATURES, EQUAL)[0] == []
