"""Meta-gradients against the exact one of a small tabular MDP: every trajectory is enumerated."""

from functools import partial
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily
from metarlhf.meta.baseline import Samples
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.estimators import dice_loss, log_prob_loss, lvc_loss
from metarlhf.meta.inner import InnerLoop, gradient_step
from metarlhf.meta.outer import meta_loss
from metarlhf.meta.update_rules import LearnedRule, initial_rule
from metarlhf.networks import build_agent

STATES, ACTIONS, HORIZON = 3, 2, 3
STEP_SIZE = 0.5


class Tabular(TaskFamily):
    """Three states; the task is a table of rewards; actions steer, or only pay."""

    name = "tabular"
    varies = "rewards"
    reward_bounds = (-2.0, 2.0)
    horizon = HORIZON
    segment_length = 1
    observation_space = Box(STATES, 0.0, 1.0, ("0", "1", "2"))
    action_space = Discrete(ACTIONS, ("left", "right"))

    def __init__(self, steers=True):
        self.steers = steers

    def follows(self, place, action):
        return (2 * place + 1 + action * self.steers) % STATES

    def sample(self, key):
        return jax.random.normal(key, (STATES, ACTIONS))

    def reset(self, key, task):
        return jax.nn.one_hot(0, STATES), (jnp.zeros((), int), jnp.zeros((), int))

    def step(self, key, state, action, task):
        place, time = state
        after = self.follows(place, action)
        obs, next_obs = jax.nn.one_hot(place, STATES), jax.nn.one_hot(after, STATES)
        reward = self.reward(obs, action, next_obs, task)
        return Step(next_obs, (after, time + 1), reward, jnp.array(False), time + 1 >= HORIZON)

    def reward(self, obs, action, next_obs, task):
        return obs @ task @ jax.nn.one_hot(action, ACTIONS)


def enumerate_all(family, task):
    """All 2^H sequences of actions: observations, actions and rewards, (episode, time)."""
    actions = np.array(list(product(range(ACTIONS), repeat=HORIZON)))
    places = np.zeros_like(actions)
    for t in range(1, HORIZON):
        places[:, t] = family.follows(places[:, t - 1], actions[:, t - 1])
    return jax.nn.one_hot(places, STATES), jnp.asarray(actions), task[places, actions]


def log_probs(family, actor, task):
    obs, actions, _ = enumerate_all(family, task)
    return actor(obs)[0].log_prob(actions)


def exact_return(family, actor, task):
    """Expected return, differentiable as often as one likes."""
    probability = jnp.exp(log_probs(family, actor, task).sum(-1))
    return jnp.sum(probability * enumerate_all(family, task)[2].sum(-1))


def exact_meta_gradient(family, actor, task):
    """Of the expected return after one exact gradient step."""

    def after_step(actor):
        gradient = jax.grad(partial(exact_return, family))(actor, task)
        return exact_return(
            family, jax.tree.map(lambda p, g: p + STEP_SIZE * g, actor, gradient), task
        )

    return flat(jax.grad(after_step)(actor))


def exact_advantage(family, actor, task):
    """Q - V of each step of each sequence: means over the sequences that share the past."""
    _, actions, reward = enumerate_all(family, task)
    probability = jnp.exp(log_probs(family, actor, task).sum(-1))
    to_go = jnp.cumsum(reward[:, ::-1], -1)[:, ::-1]
    columns = []
    for t in range(HORIZON):

        def mean(same):
            return (same * probability) @ to_go[:, t] / (same @ probability)

        past = jax.vmap(lambda a: jnp.all(actions[:, :t] == a[:t], -1))(actions)
        now = jax.vmap(lambda a: jnp.all(actions[:, : t + 1] == a[: t + 1], -1))(actions)
        columns.append(jax.vmap(mean)(now) - jax.vmap(mean)(past))
    return jnp.stack(columns, -1)


def samples_of(family, actor, task):
    """What infinitely many episodes are worth: every sequence, weighted by its probability.

    The losses are means over H steps, returns are sums: the advantages are multiplied by H.
    """
    obs, actions, reward = enumerate_all(family, task)
    log_prob = log_probs(family, actor, task)
    weight = jnp.exp(log_prob.sum(-1, keepdims=True)) * len(actions) * jnp.ones(HORIZON)
    advantage = HORIZON * weight * exact_advantage(family, actor, task)
    policy = actor(obs)[0]
    stored = Samples(obs, actions, log_prob, policy, advantage, reward, weight)
    return jax.lax.stop_gradient(stored)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def draw(family, seed):
    """A tabular policy away from uniform, and a task."""
    keys = jax.random.split(jax.random.key(seed), 3)
    agent = build_agent(keys[0], family, hidden=())
    weights = jax.random.normal(keys[1], (STATES, ACTIONS))
    agent = eqx.tree_at(lambda a: a.actor.network.weights, agent, (weights,))
    return agent, family.sample(keys[2])


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
    rule = initial_rule(agent.actor, config)
    support = samples_of(family, agent.actor, task)
    adapted, _ = gradient_step(
        agent, optax.sgd(STEP_SIZE).init(agent.actor), support, optax.sgd(STEP_SIZE), method
    )
    query = samples_of(family, adapted.actor, task)

    def lead(tree):
        return jax.tree.map(lambda x: x[None, None], tree)  # (step, task)

    loop = InnerLoop(agent, lead(support), lead(query), jnp.zeros((2, 1, 1)))
    gradient, _ = jax.grad(meta_loss, has_aux=True)((agent, rule), loop, jnp.zeros(1), config)
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
    np.testing.assert_allclose(of(lambda p: weighted_dice(family, p, data, task)), exact, atol=1e-5)


def weighted_dice(family, log_prob, data, task):
    """DiCE over all sequences: each is an episode of its own, paid by its probability."""
    reward = enumerate_all(family, task)[2] * data.weight
    return dice_loss(log_prob, reward, jnp.arange(HORIZON) == HORIZON - 1 + 0 * data.weight)


def test_dice_has_the_exact_meta_gradient(problem):
    family, agent, task = problem
    data = samples_of(family, agent.actor, task)

    def adapted(actor):
        def loss(a):
            return weighted_dice(family, a(data.obs)[0].log_prob(data.action), data, task)

        return jax.tree.map(lambda p, g: p - STEP_SIZE * g, actor, jax.grad(loss)(actor))

    estimate = flat(jax.grad(lambda actor: exact_return(family, adapted(actor), task))(agent.actor))
    np.testing.assert_allclose(estimate, exact_meta_gradient(family, agent.actor, task), atol=1e-5)


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


def test_dice_ignores_what_follows_an_episode_end():
    log_prob = jnp.log(jnp.array([[0.5, 0.25, 0.5]]))
    done = jnp.array([[False, True, False]])
    gradient = jax.grad(lambda p: dice_loss(p, jnp.array([[1.0, 2.0, 99.0]]), done, 0.5))(log_prob)
    # Step 0 is credited with 1 + 0.5 * 2, step 1 with 0.5 * 2.
    np.testing.assert_allclose(gradient, [[-2.0, -1.0, 0.0]], atol=1e-6)


def test_learned_rule_is_a_pytree_without_what_is_not_learned(problem):
    _, agent, _ = problem
    rule = initial_rule(agent.actor, MetaRLConfig(learn_inner_lr="none"))
    assert rule == LearnedRule(None, None)
    assert jax.tree.leaves(rule) == []
