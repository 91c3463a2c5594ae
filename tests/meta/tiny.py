"""Meta-training as small as it gets: it learns nothing, but goes through everything."""

from metarlhf import envs
from metarlhf.meta.joint_config import JointConfig, LatentRewardConfig
from metarlhf.ppo import PPOConfig

FAMILY = envs.make("navigation")
LEARNING = FAMILY.without_termination()
CONFIG = JointConfig(
    iterations=3, reward_steps=2, tasks=4, episodes=1, pool=128, pool_new=16, clips=32, library=24,
    inner_labels=2, inner_particles=16, inner_clips=16, inner_candidates=8,
    reward=LatentRewardConfig(
        num_tasks=32, batch_tasks=8, latent_size=3, num_features=6, hidden=(8,)
    ),
    ppo=PPOConfig(hidden=(8,), minibatches=2),
)  # fmt: skip
