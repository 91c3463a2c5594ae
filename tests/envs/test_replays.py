"""What a simulator did is seen again from a seed and actions, whichever process stepped it."""

from contextlib import closing

import numpy as np
import pytest

from metarlhf.envs import connect
from metarlhf.envs.adapters.replays import Remembered, episode_seed
from metarlhf.errors import SimulatorError

CARTPOLE, WALK = "CartPole-v1", "tests.envs.walking:Walking-v0"


@pytest.mark.parametrize("env_name", [CARTPOLE, WALK])
@pytest.mark.parametrize("workers", ["sync", "async"])
def test_every_step_is_seen_again(env_name, workers):
    """Of four environments, over many episodes, with what was before `forget` left out."""
    rng = np.random.default_rng(0)
    with closing(connect(env_name, 4, workers, seeded=True)) as env:
        remembered = Remembered(env)
        seen, ended = [remembered.reset(7)], []
        for _ in range(120):
            step = remembered.step(_actions(remembered, rng))
            seen.append(step.obs)
            ended.append(step.terminated | step.truncated)
        assert np.stack(ended).any(0).all()  # each began anew at least once
        remembered.forget(40)
        spans = _spans(np.stack(ended)[:-1], 40, 5)
        assert len(spans) > 20
        with closing(connect(env_name, 1)) as again:
            for number, first in spans:
                replay = remembered.replay(number, first, 5)
                obs, found = again.reset(replay.seed), []
                for action in replay.actions:
                    found.append(obs[0])
                    obs = again.step(action[None]).next_obs
                expected = [seen[t][number] for t in range(first, first + 5)]
                np.testing.assert_array_equal(found[replay.start :], expected)


def test_what_is_forgotten_takes_no_room():
    with closing(connect(WALK, 2, seeded=True)) as env:
        remembered = Remembered(env)
        remembered.reset(0)
        for _ in range(300):
            remembered.step(np.zeros((2, 1), np.float32))
            remembered.forget(remembered.steps - 4)
        assert len(remembered._actions) < 30


def test_no_two_episodes_begin_alike():
    seeds = [episode_seed(first, episode) for first in range(50) for episode in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_envpool_is_refused():
    with pytest.raises(SimulatorError, match="cannot be seen again"):
        connect("envpool:Pendulum-v1", 2, seeded=True)


def _actions(env, rng):
    if hasattr(env.action_space, "low"):
        return rng.uniform(-1, 1, (env.num_envs, env.action_space.size)).astype(np.float32)
    return rng.integers(env.action_space.size, size=env.num_envs)


def _spans(ended, first, length):
    """Environment and first step of some stretches that lie within one episode."""
    steps, envs = ended.shape
    within = lambda env, t: not ended[t : t + length - 1, env].any()
    return [(e, t) for e in range(envs) for t in range(first, steps - length, 7) if within(e, t)]
