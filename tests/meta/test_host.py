"""Meta-training on host simulators: what is collected there is learned from here."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.meta import outer
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import play_and_adapt
from metarlhf.meta.tasks import for_each
from metarlhf.networks import Each, build_agent
from metarlhf.sampling import HostTaskSampler, num_simulators
from tests.meta.targets import HORIZON, Targets

CONFIG = MetaRLConfig(
    meta_batch=3, episodes=4, inner_steps=2, iterations=2, epochs=2, hidden=(8,), anneal_lr=False
)
KEY = jax.random.key(0)


class Family:
    """Targets anywhere within 2."""

    name, varies, horizon = "targets", "target (1 number)", HORIZON
    observation_space, action_space = Targets.observation_space, Targets.action_space

    def sample(self, key):
        return jax.random.uniform(key, minval=-2.0, maxval=2.0)

    def connect(self, num_envs):
        return Targets(num_envs)


FAMILY = Family()


def agents(count):
    """So many that act differently."""
    each = [build_agent(jax.random.key(i), Family(), (8,)) for i in range(count)]
    each = [jax.tree.map(lambda x: 3 * x if x.ndim > 1 else x, agent) for agent in each]
    return jax.tree.map(lambda *x: jnp.stack(x), *each)


def test_many_policies_act_as_each_does_alone():
    many, obs = agents(3).actor, jnp.linspace(-1, 1, 6)[:, None]
    policies = Each(many)
    together, _ = policies(obs, policies.initial_state())
    noise = policies.draw_noise(KEY, (6,))
    over = policies.over(jnp.stack([obs, 2 * obs], axis=1))
    for i in range(3):
        own, rows = jax.tree.map(lambda x: x[i], many), slice(2 * i, 2 * i + 2)
        alone = own(obs[rows])[0]
        np.testing.assert_allclose(
            together.sample(noise)[rows], alone.sample(noise[rows]), rtol=1e-5
        )
        action = together.sample(noise)
        np.testing.assert_allclose(
            over.log_prob(jnp.stack([action, action], axis=1))[rows, 1],
            own(2 * obs[rows])[0].log_prob(action[rows]),
            rtol=1e-5,
        )


@pytest.mark.parametrize("seats", [1, 2, 4])
def test_each_task_is_played_by_its_own_agent_in_its_own_simulators(seats):
    env, tasks, some = Targets(3 * seats), jnp.array([-1.0, 0.0, 2.0]), agents(3)
    found = HostTaskSampler(FAMILY, env).episodes(KEY, tasks, some, 4)
    assert found.reward.shape == (3, 4, HORIZON)
    assert len(set(env.seeds)) == 4 // seats
    paid = -np.abs(np.asarray(found.next_obs[..., 0]) - np.asarray(tasks)[:, None, None])
    np.testing.assert_allclose(found.reward, paid, atol=1e-6)
    assert np.asarray(found.truncated[..., -1]).all()
    assert not found.done[..., :-1].any()
    for i in range(3):
        own = jax.tree.map(lambda x: x[i], some.actor)
        expected = own(found.obs[i])[0].log_prob(found.action[i])
        np.testing.assert_allclose(found.log_prob[i], expected, rtol=1e-4, atol=1e-5)


def test_the_learning_half_is_that_of_compiled_tasks():
    """A meta-update from a stored loop, by host and by hand."""
    sampler = HostTaskSampler(FAMILY, Targets(num_simulators(3, 4)))
    state = outer.init(KEY, FAMILY, CONFIG)
    after, metrics = outer.iterate(state, sampler, CONFIG)
    _, task_key, play_key = jax.random.split(state.key, 3)
    tasks = jax.vmap(FAMILY.sample)(jax.random.split(task_key, 3))
    begin = for_each(3, state.agent)
    loop = play_and_adapt(play_key, sampler, tasks, begin, state.rule, CONFIG, 2)
    assert loop.returns.shape == (3, 3, 4)
    assert metrics["return"][0] == pytest.approx(float(loop.returns[-1].mean()))
    training = outer.training(KEY, sampler, CONFIG)
    assert training.step(state, 0)[1]["steps"] == 3 * 3 * 4 * HORIZON
    expected, _ = jax.jit(outer.learn, static_argnums=2)(state, loop, CONFIG)
    for one, other in zip(
        jax.tree.leaves(after.agent), jax.tree.leaves(expected.agent), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)
    moved = after.agent.actor.network, state.agent.actor.network
    assert max(jnp.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, moved), strict=True)) > 0


def test_what_goes_on_from_a_saved_state_is_the_same_bit_for_bit():
    """In other simulators, which have done other things before."""
    first, second = (HostTaskSampler(FAMILY, Targets(12)) for _ in range(2))
    state = outer.init(KEY, FAMILY, CONFIG)
    middle, _ = outer.iterate(state, first, CONFIG)
    straight, _ = outer.iterate(middle, first, CONFIG)
    second.episodes(jax.random.key(9), jnp.zeros(3), agents(3), 4)
    resumed, _ = outer.iterate(middle, second, CONFIG)
    for one, other in zip(jax.tree.leaves(straight), jax.tree.leaves(resumed), strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(one, other)


def test_it_learns_to_learn():
    """After meta-training a step gains what it does not from a random start."""
    config = replace(CONFIG, meta_batch=10, episodes=10, inner_steps=1, iterations=60, lr=1e-2)
    sampler = HostTaskSampler(FAMILY, Targets(num_simulators(10, 10)))
    state = outer.init(KEY, FAMILY, config)
    gains = []
    for _ in range(config.iterations):
        state, metrics = outer.iterate(state, sampler, config)
        gains.append(float(metrics["return"][0] - metrics["return_before"][0]))
    assert np.mean(gains[-10:]) > np.mean(gains[:10]) + 1.0


def test_simulators_part_equally():
    assert num_simulators(40, 20) == 40
    assert num_simulators(4, 20) == 40  # ten a task
    assert num_simulators(100, 20) == 100
    for num_envs in (4, 9, 2):
        with pytest.raises(ValueError, match="expected as many for each task"):
            HostTaskSampler(FAMILY, Targets(num_envs)).episodes(KEY, jnp.zeros(3), agents(3), 4)
