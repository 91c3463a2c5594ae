"""Our own PPO in a simulator that steps outside the compiled program."""

import time

import jax
import optax

from benchmarks.ppo.drivers.compiled import count
from benchmarks.ppo.drivers.ours import config_of
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions
from metarlhf import envs, ppo
from metarlhf.sampling import HostSampler


def connect(settings: Settings) -> envs.HostEnv:
    """The environments, where the settings want them to step."""
    if settings.workers == "envpool":
        return envs.connect(f"envpool:{settings.environment}", settings.num_envs)
    workers = "async" if settings.workers == "async" else "sync"
    return envs.connect(settings.environment, settings.num_envs, workers)


def run(settings: Settings) -> Measurement:
    """Time `ppo.iterate`, after one update that is not timed, as it compiles."""
    env, config = connect(settings), config_of(settings)
    sampler = HostSampler(env)
    state = ppo.init(jax.random.key(settings.seed), sampler, config)
    begin = time.perf_counter()
    state, _ = ppo.iterate(state, sampler, config)
    first = time.perf_counter() - begin
    taken = gradient_steps(state)
    begin = time.perf_counter()
    for _ in range(settings.updates):
        state, _ = ppo.iterate(state, sampler, config)
    jax.block_until_ready(state.agent)
    seconds = time.perf_counter() - begin
    env.close()
    return Measurement(
        steps=settings.steps,
        seconds=seconds,
        compile_seconds=first - seconds / settings.updates,
        gradient_steps=gradient_steps(state) - taken,
        parameters=count(state.agent),
        versions=versions("metarlhf", "jax", "jaxlib", "gymnasium", "mujoco"),
    )


def gradient_steps(state: ppo.TrainState) -> int:
    """How many Adam has made."""
    return int(optax.tree_utils.tree_get(state.optimiser, "count"))


if __name__ == "__main__":
    serve(run)
