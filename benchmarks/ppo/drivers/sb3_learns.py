"""What Stable-Baselines3's PPO learns."""

import time

import gymnasium
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from benchmarks.ppo.drivers.sb3 import make
from benchmarks.ppo.protocol import EPISODES, Learned, Settings, serve


def run(settings: Settings) -> Learned:
    """Train, then play in fresh environments, which pay what the task pays."""
    torch.set_num_threads(1)
    model = make(settings)
    begin = time.perf_counter()
    model.learn(settings.steps)
    seconds = time.perf_counter() - begin
    env = DummyVecEnv([lambda: gymnasium.make(settings.environment)] * settings.num_envs)
    env.seed(settings.seed + 1_000)
    if settings.normalise:
        env = VecNormalize(env, training=False, norm_reward=False)
        env.obs_rms = model.get_env().obs_rms
    play = lambda mode: evaluate_policy(
        model, env, EPISODES, deterministic=mode, return_episode_rewards=True, warn=False
    )[0]
    return Learned(
        sampled=[float(value) for value in play(False)],
        mode=[float(value) for value in play(True)],
        seconds=seconds,
    )


if __name__ == "__main__":
    serve(run)
