"""What a step returns has the types of what it was given, or the whole step is compiled twice.

JAX tells a Python number's type from an array's: `jnp.log(2.0)` is *weakly* typed, and what becomes
of it in a step is not.
"""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from metarlhf import envs, ppo, rlhf
from metarlhf.feedback import Library, Teacher
from metarlhf.meta import joint, outer, reward_gradient
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.presets import preset
from metarlhf.ppo import PPOConfig
from metarlhf.rlhf import RLHFConfig
from metarlhf.sampling import CompiledSampler, CompiledTaskSampler

FAMILY, GOAL, KEY = envs.make("navigation").without_termination(), jnp.zeros(2), jax.random.key(0)
PPO = PPOConfig(num_envs=4, num_steps=20, epochs=1, minibatches=2, hidden=(8,))
RLHF = RLHFConfig(labels=2, rounds=1, updates=1, candidates=4, ppo=PPO)
META_RL = MetaRLConfig(meta_batch=2, episodes=2, hidden=(8,))
GRADIENT = reward_gradient.GradientRewardConfig(batch_tasks=2)
CLIPS = Library.blank(FAMILY, 16)
JOINT = preset("navigation").joint
LOOPS = {
    "ppo": (
        partial(ppo.init, KEY, CompiledSampler(FAMILY, GOAL, PPO.num_envs), PPO),
        lambda state: ppo.iterate(state, CompiledSampler(FAMILY, GOAL, PPO.num_envs), PPO)[0],
    ),
    "rlhf": (
        partial(rlhf.from_scratch, KEY, CompiledSampler(FAMILY, GOAL, RLHF.ppo.num_envs), RLHF),
        lambda state: rlhf.run_round(state, CompiledSampler(FAMILY, GOAL, RLHF.ppo.num_envs), RLHF)[
            0
        ],
    ),
    "meta-rl": (
        partial(outer.init, KEY, FAMILY, META_RL),
        lambda state: outer.meta_iterate(state, CompiledTaskSampler(FAMILY), META_RL)[0],
    ),
    "joint": (
        partial(joint.init, KEY, FAMILY, JOINT),
        lambda state: joint.meta_iterate(state, FAMILY, JOINT)[0],
    ),
    "gradient-reward": (
        partial(reward_gradient.init, KEY, FAMILY, GRADIENT, 10),
        lambda state: reward_gradient.train_step(
            state, KEY, FAMILY, jnp.zeros((2, 2)), CLIPS, Teacher(), GRADIENT, 10
        )[0],
    ),
}


def types(state):
    paths = jax.tree_util.tree_flatten_with_path(state)[0]
    return {jax.tree_util.keystr(p): (x.shape, x.dtype, x.weak_type) for p, x in paths}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_step_returns_the_types_that_it_takes(loop):
    """Traced only: nothing is computed or compiled."""
    begin, step = LOOPS[loop]
    before = jax.eval_shape(begin)
    assert types(jax.eval_shape(step, before)) == types(before)
