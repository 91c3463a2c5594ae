"""Stable-Baselines3's PPO.

Its environments are stepped one after the other in its own process (`DummyVecEnv`), which for tasks
as light as CartPole is faster than a process each, or in such (`SubprocVecEnv`) where that is asked
for; and without the monitor that its helpers wrap around them. PyTorch uses as many threads as it
likes.
"""

import math
import time

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from benchmarks.ppo.protocol import Measurement, Settings, serve, versions


def make(settings: Settings) -> PPO:
    """The settings in its words."""
    make_env = lambda: gymnasium.make(settings.environment)
    vector = SubprocVecEnv if settings.workers == "async" else DummyVecEnv
    env = vector([make_env] * settings.num_envs)
    if settings.normalise:
        env = VecNormalize(env, gamma=settings.gamma)
    layers = list(settings.hidden)
    return PPO(
        "MlpPolicy",
        env,
        n_steps=settings.num_steps,
        n_epochs=settings.epochs,
        batch_size=settings.batch_size // settings.minibatches,
        learning_rate=(lambda left: left * settings.lr) if settings.anneal_lr else settings.lr,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip,
        clip_range_vf=settings.clip if settings.value_clip else None,
        ent_coef=settings.entropy_coefficient,
        vf_coef=settings.value_coefficient / 2,  # it weighs the whole mean squared error
        max_grad_norm=settings.max_grad_norm,
        policy_kwargs={
            "net_arch": {"pi": layers, "vf": layers},
            "activation_fn": torch.nn.Tanh,
            "log_std_init": math.log(settings.initial_std),
        },
        device="cpu",
        seed=settings.seed,
    )


def run(settings: Settings) -> Measurement:
    """Time `learn`, after one update that is not timed."""
    model = make(settings)
    model.learn(settings.batch_size)
    steps, gradient_steps = model.num_timesteps, taken(model)
    begin = time.perf_counter()
    model.learn(settings.steps, reset_num_timesteps=False)
    seconds = time.perf_counter() - begin
    return Measurement(
        steps=model.num_timesteps - steps,
        seconds=seconds,
        compile_seconds=None,
        gradient_steps=taken(model) - gradient_steps,
        parameters=sum(p.numel() for p in model.policy.parameters()),
        versions=versions("stable-baselines3", "torch", "gymnasium", "numpy")
        | {"torch threads": str(torch.get_num_threads())},
    )


def taken(model: PPO) -> int:
    """Gradient steps that Adam has made."""
    return int(next(iter(model.policy.optimizer.state.values()))["step"])


if __name__ == "__main__":
    serve(run)
