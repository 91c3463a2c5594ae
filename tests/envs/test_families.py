"""What holds for every family: shapes, ranges, ends, and rewards that can be asked for again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf import envs
from metarlhf.envs import Box, TaskFamily
from metarlhf.errors import UnknownTaskError

FAMILIES = {name: envs.make(name) for name in envs.names()}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys(), scope="module")
def episode(request):
    """A family, some tasks, and an episode of random actions in each of them."""
    family = request.param
    tasks = jax.vmap(family.sample)(jax.random.split(jax.random.key(0), 8))
    if isinstance(family.action_space, Box):
        unit = jax.random.uniform(
            jax.random.key(1), (family.horizon, family.action_space.size), minval=-1.5, maxval=1.5
        )
    else:
        unit = jax.random.randint(jax.random.key(1), (family.horizon,), 0, 2)

    @jax.jit
    @jax.vmap
    def play(key, task):
        def step(carry, action):
            obs, state = carry
            action = family.action_space.from_unit(action)
            after = family.step(key, state, action, task)
            asked = family.reward(obs, action, after.obs, task)
            return (after.obs, after.state), (obs, after, asked)

        return jax.lax.scan(step, family.reset(key, task), unit)[1]

    return family, tasks, *play(jax.random.split(jax.random.key(2), 8), tasks)


def test_it_is_a_family(episode):
    family, _, obs, after, _ = episode
    assert isinstance(family, TaskFamily)
    size = family.observation_space.size
    assert obs.shape == after.obs.shape == (8, family.horizon, size)
    assert len(family.observation_space.names) == size
    assert len(family.action_space.names) == family.action_space.size
    assert 0 < family.segment_length <= family.horizon
    assert family.varies


def test_what_a_step_paid_can_be_asked_for_again(episode):
    """A teacher judges clips that were recorded under another task: `reward` is all it has."""
    *_, after, asked = episode
    np.testing.assert_allclose(after.reward, asked, atol=1e-6)


def test_episodes_are_truncated_at_the_horizon_and_not_before(episode):
    family, _, _, after, _ = episode
    expected = np.arange(1, family.horizon + 1) >= family.horizon
    np.testing.assert_array_equal(after.truncated, np.tile(expected, (8, 1)))


def test_rewards_lie_on_the_scale_of_marks(episode):
    """None is beyond the best mark, and where an episode starts hardly any is beyond the worst."""
    family, _, _, after, _ = episode
    low, high = family.reward_bounds
    assert low < high
    assert float(after.reward.max()) <= high
    assert float((after.reward[:, 0] >= low).mean()) > 0.8


def test_a_task_is_a_function_of_its_key_and_tasks_differ(episode):
    family, tasks, *_ = episode
    again = jax.vmap(family.sample)(jax.random.split(jax.random.key(0), 8))
    jax.tree.map(np.testing.assert_array_equal, tasks, again)
    distinct = len(np.unique(np.asarray(tasks), axis=0))
    assert distinct == (1 if family.varies == "nothing" else 8)


def test_hiding_the_goal_changes_nothing_but_the_end(episode):
    family, tasks, _, after, _ = episode
    endless = family.without_termination()
    assert endless.without_termination() is endless
    task = jax.tree.map(lambda x: x[0], tasks)
    state = jax.tree.map(lambda x: x[0, 0], after.state)
    box = isinstance(family.action_space, Box)
    action = jnp.full(family.action_space.size, 0.03) if box else jnp.ones((), jnp.int32)
    one, other = (f.step(jax.random.key(0), state, action, task) for f in (family, endless))
    np.testing.assert_array_equal(one.obs, other.obs)
    np.testing.assert_array_equal(one.reward, other.reward)


def test_a_box_maps_the_unit_range_onto_its_own_and_clips_beyond():
    box = Box(2, -3.0, 1.0, ("a", "b"))
    unit = jnp.array([[-1.0, 1.0], [0.0, 0.5], [-7.0, 7.0]])
    np.testing.assert_allclose(box.from_unit(unit), [[-3, 1], [-1, 0], [-3, 1]])


def test_unknown_names_say_what_there_is():
    with pytest.raises(UnknownTaskError, match=r"Did you mean 'reacher'\?.*pendulum"):
        envs.make("raecher")
    with pytest.raises(UnknownTaskError, match="Known are: navigation") as error:
        envs.make("zzz")
    assert "Did you mean" not in str(error.value)


def test_options_that_a_family_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"'pendulum' does not take the options.*colour"):
        envs.make("pendulum", colour="red")
    with pytest.raises(ValueError, match="half_length"):
        envs.make("cartpole", half_length=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"no preset 'moon'.*'finn2017'"):
        envs.make("navigation", preset="moon")


def test_the_same_name_and_options_give_the_same_object():
    assert envs.make("pendulum", max_torque=2.0) is envs.make("pendulum", max_torque=2.0)
    assert envs.make("pendulum", max_torque=2.0) is not envs.make("pendulum")


def test_a_family_of_ones_own_joins_by_name(monkeypatch):
    monkeypatch.setattr("metarlhf.envs.naming.FACTORIES", {"navigation": envs.Navigation})
    envs.register("mine", lambda strength=2.0: envs.Pendulum(strength))
    assert envs.names() == ("navigation", "mine")
    made = envs.make("mine", strength=3.0)
    assert isinstance(made, envs.Pendulum)
    assert made.max_torque == 3.0
    with pytest.raises(ValueError, match="'mine' is registered already"):
        envs.register("mine", envs.Pendulum)


def test_a_name_stands_for_the_family_as_it_is_made_without_options():
    for name in ("navigation", "pendulum", "navigation/pearl2019"):
        envs.check_name(envs.make(name))
        envs.check_name(envs.make(name).without_termination())
    with pytest.raises(ValueError, match="'pendulum' is the name of another environment"):
        envs.check_name(envs.make("pendulum", max_torque=2.0))
