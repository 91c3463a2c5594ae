"""Behaviour cloning, and demonstrations on their way to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save

from metarlhf import envs, ppo, rlhf
from metarlhf.errors import PublishedFileError
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf.demonstrations import read_demonstrations, write_demonstrations

FAMILY = envs.make("navigation")
KEY = jax.random.key(0)


def shown(seed=0, steps=200):
    """Somebody who always goes to (0.3, 0.3), from anywhere."""
    obs = np.random.default_rng(seed).uniform(-0.5, 0.5, (steps, 2)).astype(np.float32)
    return obs, np.clip(4 * (0.3 - obs), -1, 1).astype(np.float32)


def agent(**options):
    return ppo.new_agent(KEY, FAMILY, PPOConfig(hidden=(32,), **options))


def test_the_policy_does_what_was_shown_also_where_nothing_was():
    obs, action = shown()
    cloned = rlhf.clone(KEY, agent(), obs, action, rlhf.CloningConfig(steps=1_500, lr=3e-3))
    other, expected = map(jnp.asarray, shown(1))
    mistake = lambda a: float(jnp.abs(a.actor(other)[0].mode() - expected).mean())
    assert mistake(cloned) < 0.1 < 0.5 < mistake(agent())
    # It explores as before, and the value function is nobody's to show.
    np.testing.assert_array_equal(cloned.actor.log_std, agent().actor.log_std)
    same = jax.tree.map(np.array_equal, cloned.critic, agent().critic)
    assert all(jax.tree.leaves(same))


def test_a_policy_with_a_memory_is_refused():
    obs, action = shown()
    with pytest.raises(ValueError, match="without a memory"):
        rlhf.clone(KEY, agent(memory="gru"), obs, action, rlhf.CloningConfig())


def test_demonstrations_come_back_and_no_clip_goes_over_an_episodes_end(tmp_path):
    obs, action = shown(steps=47)
    write_demonstrations(tmp_path / "d", obs, action, np.array([25, 9, 13]))
    found = read_demonstrations(tmp_path / "d", FAMILY)
    np.testing.assert_array_equal(found.obs, obs)
    np.testing.assert_array_equal(found.action, action)
    assert FAMILY.segment_length == 10
    assert found.clips.obs.shape == (3, 10, 2)
    for clip, begin in zip(found.clips.obs, (0, 10, 34), strict=True):
        np.testing.assert_array_equal(clip, obs[begin : begin + 10])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs": np.zeros((20, 3), np.float32)}, "navigation/finn2017 has obs"),
        ({"action": np.zeros(20, np.int32)}, "has obs"),
        ({"length": np.array([19])}, "19 steps in all"),
        ({"length": np.array([9, 9, 2])}, "as long as a clip"),
        ({"length": np.array([0, 20])}, "without a step"),
        ({"length": np.array([20.0])}, "no lengths"),
        ({"obs": np.full((20, 2), np.nan, np.float32)}, "no observations"),
        ({"obs": None}, "holds no demonstrations"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    obs, action = shown(steps=20)
    arrays = {"obs": obs, "action": action, "length": np.array([20])} | change
    path = tmp_path / "d"
    path.write_bytes(save({name: x for name, x in arrays.items() if x is not None}))
    with pytest.raises(PublishedFileError, match=message):
        read_demonstrations(path, FAMILY)


def test_what_is_no_file_is_refused(tmp_path):
    for content in (None, b"nonsense"):
        if content:
            (tmp_path / "d").write_bytes(content)
        with pytest.raises(PublishedFileError, match="holds no demonstrations"):
            read_demonstrations(tmp_path / "d", FAMILY)
