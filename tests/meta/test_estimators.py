"""Meta-gradients against the exact one of a small tabular MDP: every trajectory is enumerated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.tabular import (
    STEP_SIZE,
    Tabular,
    draw,
    exact_meta_gradient,
    exact_return,
    flat,
    samples_of,
)
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import dice_loss, loaded_dice_loss, log_prob_loss, lvc_loss
from metarlhf.meta.inner import InnerLoop, gradient_step
from metarlhf.meta.objective import collected, meta_loss
from metarlhf.meta.update_rules import LearnedRule, initial_rule


@pytest.fixture(scope="module")
def problem():
    family = Tabular()
    return family, *draw(family, 0)


def library_meta_gradient(family, agent, task, method, **options):
    """What the outer loop computes from stored data, for the policy."""
    config = MetaRLConfig(
        method=method, inner_lr=STEP_SIZE, learn_inner_lr="none", kl_coefficient=0.0, hidden=(),
        **options,
    )  # fmt: skip
    rule = initial_rule(jax.random.key(9), agent.actor, config)
    support = samples_of(family, agent.actor, task)
    adapted, _ = gradient_step(
        agent, optax.sgd(STEP_SIZE).init(agent.actor), support, optax.sgd(STEP_SIZE), config
    )
    query = samples_of(family, adapted.actor, task)

    def lead(tree):
        return jax.tree.map(lambda x: x[None, None], tree)  # (step, task)

    loop = InnerLoop(agent, lead(support), lead(query), jnp.zeros((2, 1, 1)))
    rest = (collected(loop, config), jnp.zeros(1), config)
    gradient, _ = jax.grad(meta_loss, has_aux=True)((agent, rule), *rest)
    return -flat(gradient[0].actor)


def test_all_estimators_have_the_policy_gradient_as_first_derivative(problem):
    family, agent, task = problem
    exact = flat(jax.grad(partial(exact_return, family))(agent.actor, task))
    data = samples_of(family, agent.actor, task)

    def of(loss):
        return -flat(jax.grad(lambda a: loss(a(data.obs)[0].log_prob(data.action)))(agent.actor))

    np.testing.assert_allclose(of(lambda p: log_prob_loss(p, data.advantage)), exact, atol=1e-5)
    np.testing.assert_allclose(
        of(lambda p: lvc_loss(p, data.log_prob, data.advantage)), exact, atol=1e-5
    )
    np.testing.assert_allclose(of(lambda p: dice_loss(p, data.paid)), exact, atol=1e-5)
    np.testing.assert_allclose(
        of(lambda p: loaded_dice_loss(p, data.advantage, 0.7)), exact, atol=1e-5
    )


@pytest.mark.parametrize("estimator", ["dice", "loaded-dice"])
def test_dice_and_loaded_dice_have_the_exact_meta_gradient(problem, estimator):
    family, agent, task = problem
    found = library_meta_gradient(family, agent, task, "maml", estimator=estimator, gae_lambda=1.0)
    exact = exact_meta_gradient(family, agent.actor, task)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_loaded_dice_without_memory_is_the_ratio(problem):
    family, agent, task = problem
    found = library_meta_gradient(
        family, agent, task, "maml", estimator="loaded-dice", gae_lambda=0.0
    )
    ratio = library_meta_gradient(family, agent, task, "promp")
    np.testing.assert_allclose(found, ratio, atol=1e-6)


def relative_errors(family, seed):
    agent, task = draw(family, seed)
    exact = exact_meta_gradient(family, agent.actor, task)
    estimates = [library_meta_gradient(family, agent, task, m) for m in ("promp", "maml")]
    return [np.linalg.norm(e - exact) / np.linalg.norm(exact) for e in estimates]


def test_where_actions_do_not_steer_lvc_is_exact_and_log_prob_is_far():
    """What LVC leaves out is an action's effect on later steps: without one nothing is left out."""
    lvc, plain = np.transpose([relative_errors(Tabular(steers=False), seed) for seed in range(3)])
    assert lvc.max() < 1e-4
    assert plain.mean() > 0.2


def test_where_actions_steer_lvc_is_near_and_nearer_than_log_prob():
    lvc, plain = np.mean([relative_errors(Tabular(), seed) for seed in range(6)], axis=0)
    assert lvc < 0.25
    assert lvc < 0.8 * plain


def test_the_bias_of_the_log_prob_estimator_is_the_one_known(problem):
    """It lacks the inner step's E[grad log pi grad log pi^T A] and cross terms: Hessians say so.

    For a softmax policy with exact advantages, E[A | s] = 0 makes its Hessian vanish: the
    meta-gradient is the first-order one, whatever the exact one is.
    """
    family, agent, task = problem
    plain = library_meta_gradient(family, agent, task, "maml")
    first_order = library_meta_gradient(family, agent, task, "fomaml")
    np.testing.assert_allclose(plain, first_order, atol=1e-5)


def test_fomaml_is_the_gradient_at_the_adapted_policy(problem):
    family, agent, task = problem
    gradient = jax.grad(partial(exact_return, family))(agent.actor, task)
    adapted = jax.tree.map(lambda p, g: p + STEP_SIZE * g, agent.actor, gradient)
    np.testing.assert_allclose(
        library_meta_gradient(family, agent, task, "fomaml"),
        flat(jax.grad(partial(exact_return, family))(adapted, task)),
        atol=1e-5,
    )


def test_dice_credits_each_step_with_what_follows():
    log_prob = jnp.log(jnp.array([[0.5, 0.25, 0.5]]))
    gradient = jax.grad(lambda p: dice_loss(p, jnp.array([[1.0, 1.0, 0.0]])))(log_prob)
    np.testing.assert_allclose(3 * gradient, [[-2.0, -1.0, 0.0]], atol=1e-6)


def test_with_a_discount_dice_counts_a_step_the_less_the_later_it_is():
    gamma, reward = 0.5, jnp.array([[1.0, -2.0, 3.0]])
    log_prob = jnp.log(jnp.array([[0.5, 0.25, 0.5]]))
    discount = gamma ** jnp.arange(3.0)
    to_go = jnp.array([[1.0 - 2.0 * 0.5 + 3.0 * 0.25, -2.0 + 3.0 * 0.5, 3.0]])
    dice = jax.grad(lambda p: dice_loss(p, reward * discount))(log_prob)
    plain = jax.grad(lambda p: log_prob_loss(p, to_go))(log_prob)
    np.testing.assert_allclose(dice, discount * plain, atol=1e-6)


def test_learned_rule_is_a_pytree_without_what_is_not_learned(problem):
    _, agent, _ = problem
    rule = initial_rule(jax.random.key(9), agent.actor, MetaRLConfig(learn_inner_lr="none"))
    assert rule == LearnedRule(None, None)
    assert jax.tree.leaves(rule) == []
