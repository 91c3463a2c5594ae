"""Imitation's preference comparisons on Pendulum-v1, put together as its documentation's example.

The settings are the example's, for 50,000 steps and 200 comparisons, which is what it names for
good results; its policy and reward networks have two layers of 32.
"""

import time

import numpy as np
from imitation.algorithms import preference_comparisons
from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util.networks import RunningNorm
from imitation.util.util import make_vec_env
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from benchmarks.ppo.protocol import EPISODES, Learned, Settings, serve

COMPARISONS, ROUNDS = 200, 60


def run(settings: Settings) -> Learned:
    """Train from comparisons, then play for the true reward."""
    rng = np.random.default_rng(settings.seed)
    venv = make_vec_env(settings.environment, n_envs=settings.num_envs, rng=rng)
    begin = time.perf_counter()
    reward_net = BasicRewardNet(
        venv.observation_space, venv.action_space, normalize_input_layer=RunningNorm
    )
    trainer = preference_comparisons.BasicRewardTrainer(
        preference_model=preference_comparisons.PreferenceModel(reward_net),
        loss=preference_comparisons.CrossEntropyRewardLoss(),
        epochs=3,
        rng=rng,
    )
    agent = PPO(
        policy=FeedForward32Policy,
        policy_kwargs={
            "features_extractor_class": NormalizeFeaturesExtractor,
            "features_extractor_kwargs": {"normalize_class": RunningNorm},
        },
        env=venv,
        seed=settings.seed,
        n_steps=settings.num_steps,
        batch_size=settings.batch_size // settings.minibatches,
        ent_coef=settings.entropy_coefficient,
        learning_rate=settings.lr,
        clip_range=settings.clip,
        gae_lambda=settings.gae_lambda,
        gamma=settings.gamma,
        n_epochs=settings.epochs,
        device="cpu",
    )
    learner = preference_comparisons.PreferenceComparisons(
        preference_comparisons.AgentTrainer(
            algorithm=agent, reward_fn=reward_net, venv=venv, exploration_frac=0.05, rng=rng
        ),
        reward_net,
        num_iterations=ROUNDS,
        fragmenter=preference_comparisons.RandomFragmenter(warning_threshold=0, rng=rng),
        preference_gatherer=preference_comparisons.SyntheticGatherer(rng=rng),
        reward_trainer=trainer,
        fragment_length=100,
        transition_oversampling=1,
        initial_comparison_frac=0.1,
        allow_variable_horizon=False,
        initial_epoch_multiplier=4,
        query_schedule="hyperbolic",
    )
    learner.train(total_timesteps=settings.steps, total_comparisons=COMPARISONS)
    seconds = time.perf_counter() - begin
    fresh = make_vec_env(settings.environment, n_envs=settings.num_envs, rng=rng)
    play = lambda mode: evaluate_policy(
        agent, fresh, EPISODES, deterministic=mode, return_episode_rewards=True, warn=False
    )[0]
    found = [[float(value) for value in play(mode)] for mode in (False, True)]
    return Learned(sampled=found[0], mode=found[1], seconds=seconds)


if __name__ == "__main__":
    serve(run)
