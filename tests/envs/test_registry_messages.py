"""What is said of an environment that is no task family."""

import jax.numpy as jnp
import pytest

from metarlhf import envs
from metarlhf.errors import UnknownTaskError


class Half:
    """Steps, but says not what a step is worth."""

    name, horizon = "half", 5
    observation_space = envs.Box(1, -1.0, 1.0, ("x",))
    action_space = envs.Box(1, -1.0, 1.0, ("a",))

    def sample(self, key):
        return jnp.zeros(())

    def reset(self, key, task):
        return jnp.zeros(1), jnp.zeros((), int)

    def step(self, key, state, action, task):
        return envs.Step(action, state + 1, action[0], state < 0, state >= 4)


def test_it_is_said_what_a_class_lacks_to_be_a_family():
    envs.register("half", Half)
    assert isinstance(envs.make("half"), envs.Environment)
    expected = "it lacks varies, segment_length, reward_bounds, reward, without_termination"
    with pytest.raises(UnknownTaskError, match=expected):
        envs.make_family("half")
