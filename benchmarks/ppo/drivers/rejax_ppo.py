"""Rejax's PPO on Gymnax's environments.

As it comes, but for its evaluation, which would take time that others do not spend. It differs from
the settings in what costs nothing: it cuts each number of a gradient at `max_grad_norm`, where all
others shorten the whole gradient to that length, and its networks start from Flax's defaults.
"""

import jax
from rejax import PPO

from benchmarks.ppo.drivers.compiled import count, timed
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions


def make(settings: Settings) -> PPO:
    """The settings in its words."""
    algorithm = PPO.create(
        env=settings.environment,
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": settings.hidden},
        total_timesteps=settings.steps,
        eval_freq=settings.steps,
        skip_initial_evaluation=True,
        num_envs=settings.num_envs,
        num_steps=settings.num_steps,
        num_epochs=settings.epochs,
        num_minibatches=settings.minibatches,
        learning_rate=settings.lr,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        clip_eps=settings.clip,  # of values too
        ent_coef=settings.entropy_coefficient,
        vf_coef=settings.value_coefficient,
        max_grad_norm=settings.max_grad_norm,
    )
    return algorithm.replace(eval_callback=lambda algorithm, state, key: ())


def run(settings: Settings) -> Measurement:
    """Time `train` from a state made before."""
    algorithm = make(settings)
    start = algorithm.init_state(jax.random.key(settings.seed))
    train = jax.jit(lambda start: algorithm.train(train_state=start)[0])
    end, seconds, compile_seconds = timed(train, start)
    return Measurement(
        steps=int(end.global_step),
        seconds=seconds,
        compile_seconds=compile_seconds,
        gradient_steps=int(end.actor_ts.step),
        parameters=count((end.actor_ts.params, end.critic_ts.params)),
        versions=versions("rejax", "gymnax", "jax", "jaxlib", "flax", "distrax", "optax"),
    )


if __name__ == "__main__":
    serve(run)
