"""The simulator alone: the same environments step by random actions, and nobody acts or learns."""

import time

import numpy as np

from benchmarks.ppo.drivers.ours_host import connect
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions


def run(settings: Settings) -> Measurement:
    """Time as many steps as training would make, with the resets between episodes."""
    env = connect(settings)
    env.reset(settings.seed)
    size = env.action_space.size
    rng = np.random.default_rng(settings.seed)
    actions = rng.uniform(-1.0, 1.0, (settings.num_steps, settings.num_envs, size))
    actions = actions.astype(np.float32)
    for action in actions[:10]:
        env.step(action)
    begin = time.perf_counter()
    for _ in range(settings.updates):
        for action in actions:
            env.step(action)
    seconds = time.perf_counter() - begin
    env.close()
    return Measurement(
        steps=settings.steps,
        seconds=seconds,
        compile_seconds=None,
        gradient_steps=0,
        parameters=0,
        versions=versions("gymnasium", "mujoco", "numpy"),
    )


if __name__ == "__main__":
    serve(run)
