"""Settings of PPO by what it trains on, tuned or as published: each says which.

Where something was chosen it was on validation tasks, never on those that figures are published of.
"""

from dataclasses import replace

from metarlhf.ppo.config import PPOConfig

ORACLE = PPOConfig(total_steps=400_000, gamma=0.97, evaluate_every=25, evaluation_episodes=8)
"""PPO on the true reward, its step size annealed to nothing: the upper end of the scale."""

SEARCHED = PPOConfig(total_steps=96_000, lr=4e-3, gamma=0.97, evaluation_episodes=8)
"""PPO as it is judged where its optimiser is searched for. Of five step sizes this was about the
best on reacher and navigation, and next to the best on pendulum, on six tasks each with a budget so
short; on others twice as long a step is better, see the row optimiser-transfer."""

STEPPED = PPOConfig(
    total_steps=1_000_000,
    num_envs=8,
    num_steps=256,
    epochs=10,
    minibatches=32,
    lr=3e-4,
    normalise_obs=True,
    normalise_reward=True,
    evaluate_every=25,
    evaluation_episodes=5,
)
"""PPO in a host simulator: the settings for MuJoCo of Huang et
al. 2022, on eight environments. With them the benchmark ppo-learning stands beside
Stable-Baselines3; they were not tuned here."""


def alone_on_host(horizon: int, steps: int) -> PPOConfig:
    """The same in a family's simulators, an episode of `horizon` steps in each of 32 an update.

    Chosen on AntDir: a random policy of standard deviation 1 falls at once, so it begins with half
    of that; without a reward for entropy it settled on a poor gait, from 231 after half a million
    steps to 246 after three; and updates that leave off where a minibatch's KL is above 0.03 came
    to 236 after one million steps and to 314 after one and a half, where larger ones (of 0.1 on
    average) had come to 167 and 227 (one seed each).
    """
    return replace(
        STEPPED,
        num_envs=32,
        num_steps=horizon,
        total_steps=steps,
        kl_stop=0.03,
        entropy_coefficient=0.005,
        initial_std=0.5,
    )


GYMNAX = PPOConfig(
    total_steps=1_000_000,
    num_envs=64,
    num_steps=128,
    minibatches=8,
    entropy_coefficient=0.01,
    evaluate_every=10,
    evaluation_episodes=8,
)
"""PPO in a Gymnax environment: as many side by side as PureJaxRL takes for MinAtar. Not tuned."""

GYMNAX_ORACLE = replace(ORACLE, normalise_obs=True, normalise_reward=True, minibatches=16, epochs=8)
"""The upper end of the scale in a family of Gymnax's tasks, whose rewards may be of any size. On
six validation tasks of Pendulum-v1 (g from 5 to 15) 400 000 steps end at -150; by `ORACLE` at
-1012 of an untrained -1218, and at -200 where only rewards and observations are normalised. On
CartPole-v1 they end at 500 rather than 456, on Acrobot-v1 at -78 rather than -95. One seed each."""

MINATAR = replace(GYMNAX, lr=2.5e-3, shared_torso=True)
"""MinAtar's small pictures: most of the work is in the first layers, so both share them. The step
size is the better of two, 1e-3 and this, after three million steps of one seed of Breakout."""


def of_simulator(name: str) -> PPOConfig:
    """The settings for a simulator that goes by this name; those that no family has."""
    if not name.startswith("gymnax:"):
        return STEPPED
    return MINATAR if name.endswith("-MinAtar") else GYMNAX
