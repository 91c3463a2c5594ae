"""Our own PPO, run as its peers are."""

import jax
import optax

from benchmarks.ppo.drivers.compiled import count, timed
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions
from metarlhf import envs, ppo
from metarlhf.sampling import CompiledSampler
from metarlhf.types import Task

# By our names: CartPole-v1 is a family of ours, the others come from Gymnax 1.0.
FAMILIES = {
    "CartPole-v1": "cartpole",
    "Pendulum-v1": "gymnax:Pendulum-v1",
    "Acrobot-v1": "gymnax:Acrobot-v1",
}
# Half the range of actions, which is our unit, where it is not 1 in the simulator's.
HALF_RANGES = {"Pendulum-v1": 2.0}


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
        anneal_lr=settings.anneal_lr,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip=settings.clip,
        value_clip=settings.clip if settings.value_clip else 0.0,
        entropy_coefficient=settings.entropy_coefficient,
        value_coefficient=settings.value_coefficient,
        max_grad_norm=settings.max_grad_norm,
        normalise_obs=settings.normalise,
        normalise_reward=settings.normalise,
        initial_std=settings.initial_std / HALF_RANGES.get(settings.environment, 1.0),
    )


def setting_out(settings: Settings) -> tuple[envs.Environment, Task, ppo.PPOConfig]:
    """What our functions take: family, task and configuration."""
    family = envs.make(FAMILIES[settings.environment])
    return family, family.sample(jax.random.key(settings.seed)), config_of(settings)


def run(settings: Settings) -> Measurement:
    """Time `ppo.iterate_many`."""
    family, task, config = setting_out(settings)
    start = ppo.init(
        jax.random.key(settings.seed + 1), CompiledSampler(family, task, config.num_envs), config
    )
    train = lambda start: ppo.iterate_many(
        start, CompiledSampler(family, task, config.num_envs), config, settings.updates
    )[0]
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
