"""Our own PPO, run as its peers are."""

import jax
import optax

from benchmarks.ppo.drivers.compiled import count, timed
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions
from metarlhf import envs, ppo

# Our pendulum family is the rod of Pendulum-v1 (three numbers seen, one torque) with a hidden angle
# to hold, stronger and with shorter episodes: as many operations a step, another task.
FAMILIES = {"CartPole-v1": "cartpole", "Pendulum-v1": "pendulum"}


def config_of(settings: Settings) -> ppo.PPOConfig:
    """The settings in our words."""
    return ppo.PPOConfig(
        total_steps=settings.steps,
        num_envs=settings.num_envs,
        num_steps=settings.num_steps,
        epochs=settings.epochs,
        minibatches=settings.minibatches,
        hidden=settings.hidden,
        lr=settings.lr,
        anneal_lr=False,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip=settings.clip,
        value_clip=settings.clip,
        entropy_coefficient=settings.entropy_coefficient,
        value_coefficient=settings.value_coefficient,
        max_grad_norm=settings.max_grad_norm,
    )


def run(settings: Settings) -> Measurement:
    """Time `ppo.iterate_many`."""
    config = config_of(settings)
    family = envs.make(FAMILIES[settings.environment])
    task_key, key = jax.random.split(jax.random.key(settings.seed))
    task = family.sample(task_key)
    start = ppo.init(key, family, task, config)
    train = lambda start: ppo.iterate_many(start, family, task, config, settings.updates)[0]
    end, seconds, compile_seconds = timed(train, start)
    return Measurement(
        steps=int(end.updates) * config.batch_size,
        seconds=seconds,
        compile_seconds=compile_seconds,
        gradient_steps=int(optax.tree_utils.tree_get(end.optimiser, "count")),
        parameters=count(end.agent),
        versions=versions("metarlhf", "jax", "jaxlib", "equinox", "optax"),
    )


if __name__ == "__main__":
    serve(run)
