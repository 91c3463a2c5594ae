"""What PPO comes to in single tasks of simulators outside the program: an upper end of the scale.

For compiled families `evaluate.references` says it of every task side by side.
"""

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.host import TaskedEnv
from metarlhf.types import Task


def oracle_returns(
    key: PRNGKeyArray, env: TaskedEnv, tasks: Task, config: ppo.PPOConfig
) -> Float[np.ndarray, " task"]:
    """Mean true return of the mode of a policy that PPO taught each task alone, one after another.

    All of `env` step in the task that is being learned, until `config`'s budget is spent, and then
    play an episode each.
    """
    count = jax.tree.leaves(tasks)[0].shape[0]
    found = []
    for number, task_key in enumerate(jax.random.split(key, count)):
        alone = jax.tree.map(lambda x: np.stack([np.asarray(x[number])] * env.num_envs), tasks)
        env.set_tasks(alone)
        state = ppo.host.init(task_key, env, config)
        for _ in range(config.num_updates):
            state, _ = ppo.host.iterate(state, env, config)
        found.append(ppo.host.mean_return(state, env))
    return np.array(found)
