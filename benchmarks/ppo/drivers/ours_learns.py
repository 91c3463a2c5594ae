"""What our own PPO learns: in a compiled task where there is one, else in the simulator itself.

Either way the agent is then judged in Gymnasium's own environment, as its peers are.
"""

import time

import jax

from benchmarks.ppo.drivers.ours import FAMILIES, config_of, setting_out
from benchmarks.ppo.protocol import EPISODES, Learned, Settings, serve
from metarlhf import envs, ppo
from metarlhf.networks import Agent
from metarlhf.sampling import CompiledSampler, HostSampler
from metarlhf.sampling.host import evaluate


def train_compiled(settings: Settings) -> Agent:
    """All updates in one program."""
    family, task, config = setting_out(settings)
    sampler = CompiledSampler(family, task, config.num_envs)
    state = ppo.init(jax.random.key(settings.seed), sampler, config)
    state, _ = ppo.iterate_many(state, sampler, config, settings.updates)
    return jax.block_until_ready(state.agent)


def train_on_host(settings: Settings) -> Agent:
    """In a host simulator."""
    env, config = envs.connect(settings.environment, settings.num_envs), config_of(settings)
    sampler = HostSampler(env)
    state = ppo.init(jax.random.key(settings.seed), sampler, config)
    for _ in range(settings.updates):
        state, _ = ppo.iterate(state, sampler, config)
    env.close()
    return state.agent


def run(settings: Settings) -> Learned:
    """Train, then play in fresh environments."""
    compiled = settings.environment in FAMILIES
    begin = time.perf_counter()
    agent = (train_compiled if compiled else train_on_host)(settings)
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
