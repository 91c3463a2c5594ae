"""What our own PPO learns: in a compiled task where there is one, else in the simulator itself.

Either way the agent is then judged in Gymnasium's own environment, as its peers are.
"""

import time

import jax

from benchmarks.ppo.drivers.ours import FAMILIES, config_of, setting_out
from benchmarks.ppo.protocol import EPISODES, Learned, Settings, serve
from metarlhf import envs, ppo
from metarlhf.networks import Agent
from metarlhf.rollout_host import evaluate


def train_compiled(settings: Settings) -> Agent:
    """All updates in one program."""
    family, task, config = setting_out(settings)
    state = ppo.init(jax.random.key(settings.seed), family, task, config)
    state, _ = ppo.iterate_many(state, family, task, config, settings.updates)
    return jax.block_until_ready(state.agent)


def train_beside(settings: Settings) -> Agent:
    """In a simulator that steps outside the compiled program."""
    env, config = envs.connect(settings.environment, settings.num_envs), config_of(settings)
    state = ppo.host.init(jax.random.key(settings.seed), env, config)
    for _ in range(settings.updates):
        state, _ = ppo.host.iterate(state, env, config)
    env.close()
    return state.agent


def run(settings: Settings) -> Learned:
    """Train, then play in fresh environments."""
    compiled = settings.environment in FAMILIES
    begin = time.perf_counter()
    agent = (train_compiled if compiled else train_beside)(settings)
    seconds = time.perf_counter() - begin
    env = envs.connect(settings.environment, EPISODES)
    key = jax.random.key(settings.seed + 1_000)
    play = lambda mode: evaluate(key, env, agent.actor, mode).tolist()
    return Learned(
        sampled=play(False),
        mode=play(True),
        seconds=seconds,
    )


if __name__ == "__main__":
    serve(run)
