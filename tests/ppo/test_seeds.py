"""Many seeds in one program: each learns what it learns alone."""

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import envs, ppo
from metarlhf.sampling import CompiledSampler
from metarlhf.statistics import interquartile_mean

FAMILY, POLE = envs.make("cartpole"), jnp.array(0.5)
CONFIG = ppo.PPOConfig(
    num_envs=4, num_steps=16, epochs=2, minibatches=2, hidden=(8,), total_steps=64 * 3,
    evaluate_every=2, evaluation_episodes=2,
)  # fmt: skip


def test_every_seed_learns_what_it_learns_alone():
    keys = jax.random.split(jax.random.key(3), 4)
    states = ppo.init_seeds(keys, CompiledSampler(FAMILY, POLE, CONFIG.num_envs), CONFIG)
    points = list(ppo.train_seeds(states, CompiledSampler(FAMILY, POLE, CONFIG.num_envs), CONFIG))
    assert len(points) == 2
    last, returns, found = points[-1]
    assert returns.shape == (4,)
    assert found == interquartile_mean(returns)
    for i in (0, 3):
        *_, (alone, entry) = ppo.train(
            ppo.init(keys[i], CompiledSampler(FAMILY, POLE, CONFIG.num_envs), CONFIG),
            CompiledSampler(FAMILY, POLE, CONFIG.num_envs),
            CONFIG,
        )
        pairs = zip(jax.tree.leaves(alone.agent), jax.tree.leaves(last.agent), strict=True)
        for one, many in pairs:
            np.testing.assert_allclose(one, many[i], atol=1e-5)
        assert entry["return"] == returns[i]
