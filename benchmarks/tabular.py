"""A small tabular task whose meta-gradient is known exactly: every trajectory is enumerated.

For the tests of the inner loop's estimators, and the row that measures them.
"""

from functools import partial
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from metarlhf.envs.base import Box, Discrete, Step, TaskFamily
from metarlhf.meta.estimators import Samples
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
    """Of each step of each sequence."""
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


def judged(family, actor, task):
    """Of each step of each sequence, V, Q and what is paid from there on.

    V and Q are means over the sequences that share the past.
    """
    _, actions, reward = enumerate_all(family, task)
    probability = jnp.exp(log_probs(family, actor, task).sum(-1))
    to_go = jnp.cumsum(reward[:, ::-1], -1)[:, ::-1]
    values, action_values = [], []
    for t in range(HORIZON):

        def mean(same):
            return (same * probability) @ to_go[:, t] / (same @ probability)

        past = jax.vmap(lambda a: jnp.all(actions[:, :t] == a[:t], -1))(actions)
        now = jax.vmap(lambda a: jnp.all(actions[:, : t + 1] == a[: t + 1], -1))(actions)
        values.append(jax.vmap(mean)(past))
        action_values.append(jax.vmap(mean)(now))
    return jnp.stack(values, -1), jnp.stack(action_values, -1), to_go


def samples_of(family, actor, task, counts=None):
    """Episodes as an inner step takes them: every sequence, weighted by how often it came.

    Without `counts` as often as in infinitely many episodes, and advantages are exact; with them,
    how often each came, advantages are what was paid less the exact value. The losses are means
    over H steps, returns are sums: advantages and rewards are multiplied by H.
    """
    obs, actions, reward = enumerate_all(family, task)
    log_prob = log_probs(family, actor, task)
    value, action_value, to_go = judged(family, actor, task)
    share = jnp.exp(log_prob.sum(-1)) if counts is None else counts / counts.sum()
    weight = share[:, None] * len(actions) * jnp.ones(HORIZON)
    advantage = (action_value if counts is None else to_go) - value
    stored = Samples(
        obs=obs, action=actions, log_prob=log_prob, policy=actor(obs)[0],
        advantage=HORIZON * weight * advantage, value_target=reward, weight=weight,
        paid=HORIZON * weight * reward,
    )  # fmt: skip
    return jax.lax.stop_gradient(stored)


def flat(tree):
    """All its numbers in a row."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def draw(family, seed):
    """A tabular policy away from uniform, and a task."""
    keys = jax.random.split(jax.random.key(seed), 3)
    agent = build_agent(keys[0], family, hidden=())
    weights = jax.random.normal(keys[1], (STATES, ACTIONS))
    agent = eqx.tree_at(lambda a: a.actor.network.weights, agent, (weights,))
    return agent, family.sample(keys[2])
