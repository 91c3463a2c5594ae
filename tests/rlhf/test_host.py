"""RLHF in a simulator outside the compiled program."""

from contextlib import closing
from dataclasses import replace
from unittest.mock import Mock

import jax
import numpy as np
import pytest

from metarlhf import ppo, rlhf
from metarlhf.envs import connect
from metarlhf.envs.adapters.replays import Remembered
from metarlhf.envs.base import ShownEnv
from metarlhf.errors import SimulatorError
from metarlhf.ppo import PPOConfig
from metarlhf.reward import EnsembleConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.loop import collect
from metarlhf.sampling import HostSampler
from metarlhf.teach.session import TeachingSession
from metarlhf.teach.simulator import Replays
from metarlhf.teach.teacher import HumanTeacher
from metarlhf.training import iterate

WALK = "tests.envs.walking:Walking-v0"
CONFIG = RLHFConfig(
    labels=40, rounds=8, updates=3, final_updates=10, candidates=100,
    ppo=PPOConfig(num_envs=4, num_steps=100, epochs=4, minibatches=4, lr=3e-3, anneal_lr=False),
)  # fmt: skip


@pytest.fixture
def env():
    with closing(connect(WALK, 4, seeded=True)) as made:
        yield Remembered(made)


def test_a_teacher_who_likes_what_is_paid_is_obeyed(env):
    """The simulator pays for going to the right; the agent learns that from answers alone."""
    with closing(connect(WALK, 16)) as evaluation_env:
        sampler = HostSampler(env, evaluation_env, ShownEnv.of(env, 10))
        start = lambda: rlhf.from_scratch(jax.random.key(0), sampler, CONFIG, EnsembleConfig())
        measure = lambda state: {"return": ppo.mean_return(state.ppo, sampler, CONFIG.ppo)}
        loop = rlhf.training(start, sampler, CONFIG, measure)
        before = measure(loop.start())["return"]
        *_, (state, row) = iterate(loop, loop.start())
        after = row["return"]
    assert int(state.answers.count) == 40
    assert int(state.ppo.updates) == 8 * 3 + 10
    assert int(state.steps) == (8 * 3 + 10) * 400
    assert after > before + 15


@pytest.mark.parametrize("remembered", [1, 3])
def test_what_may_be_asked_about_is_seen_again_by_its_number(env, remembered):
    config = replace(CONFIG, remembered_rounds=remembered)
    shown = ShownEnv.of(env, 10)
    with closing(connect(WALK, 1, seeded=True)) as show_env:
        sampler = HostSampler(env, shown=shown)
        replays = Replays(env, Remembered(show_env), shown)
        state = rlhf.from_scratch(jax.random.key(0), sampler, config, EnsembleConfig())
        for number in range(4):
            replays.forget(config)
            state, _ = collect(jax.random.key(number), state, sampler, config)
        clips, showable = state.candidates
        numbers = np.flatnonzero(showable)
        assert len(numbers) > 20 * remembered
        with closing(connect(WALK, 1)) as again:
            for number in numbers[::9]:
                replay = replays.clip(int(number), config)
                obs, seen = again.reset(replay.seed), []
                for action in replay.actions:
                    seen.append(obs[0])
                    obs = again.step(action[None]).next_obs
                assert len(seen) - replay.start == 10
                np.testing.assert_array_equal(seen[replay.start :], clips.obs[number])


def test_what_it_does_now_is_seen_again(env):
    shown = ShownEnv.of(env, 10)
    with closing(connect(WALK, 1, seeded=True)) as made, closing(connect(WALK, 1)) as again:
        show_env = Remembered(made)
        sampler = HostSampler(env, show_env, shown)
        state = rlhf.from_scratch(jax.random.key(0), sampler, CONFIG, EnsembleConfig())
        state, _ = collect(jax.random.key(0), state, sampler, CONFIG)
        session = TeachingSession(
            Mock(spec=HumanTeacher), sampler, CONFIG, replays=Replays(env, show_env, shown)
        )
        showing = session._show(jax.random.key(1), state)
        obs, seen = again.reset(showing.replay.seed), []
        for action in showing.replay.actions:
            seen.append(obs[0])
            obs = again.step(action[None]).next_obs
    np.testing.assert_array_equal(seen, showing.obs)
    assert np.isfinite(showing.learned_return)


def test_what_no_reward_is_learned_from_is_refused():
    with (
        closing(connect("tests.envs.counting:Guess-v0", 1)) as guess,
        pytest.raises(SimulatorError, match="have 10 steps at most, and clips are to have 50"),
    ):
        ShownEnv.of(guess, 50)
