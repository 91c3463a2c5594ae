"""The loop of PureJaxRL's PPO, written anew after reading it.

PureJaxRL is no package to install, so this measures how it works: one scan over updates; in it a
scan over steps that asks policy and value function together, draws every random number where it is
needed and steps Gymnax's environments; advantages by a scan unrolled 16 times; then scans over
passes and minibatches, shuffled by a permutation. Flax, Distrax and Optax, as there. Left out are
its counting of episode returns and, on continuous tasks, its running normalisation. Truncated
episodes count as terminated, as there.
"""

from functools import partial
from typing import Any, NamedTuple

import distrax
import gymnax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from benchmarks.ppo.drivers.compiled import count, timed
from benchmarks.ppo.protocol import Measurement, Settings, serve, versions


class Agent(nn.Module):
    """Policy and value function, side by side."""

    hidden: tuple[int, ...]
    outputs: int
    discrete: bool

    @nn.compact
    def __call__(self, obs):
        out = self.perceptron(obs, self.outputs, 0.01)
        value = self.perceptron(obs, 1, 1.0)[..., 0]
        if self.discrete:
            return distrax.Categorical(logits=out), value
        log_std = self.param("log_std", nn.initializers.zeros, (self.outputs,))
        return distrax.MultivariateNormalDiag(out, jnp.exp(log_std)), value

    def perceptron(self, x, outputs, final_gain):
        """Tanh layers, orthogonal at the start."""
        for width in self.hidden:
            x = jnp.tanh(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        return nn.Dense(outputs, kernel_init=nn.initializers.orthogonal(final_gain))(x)


class Step(NamedTuple):
    """What is kept of a step."""

    obs: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array


class State(NamedTuple):
    """Where training stands."""

    learner: TrainState
    env: Any
    obs: jax.Array
    key: jax.Array
    steps: jax.Array


class Trainer:
    """An environment and how to learn in it."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.env, self.params = gymnax.make(settings.environment)
        space = self.env.action_space(self.params)
        self.discrete = isinstance(space, gymnax.environments.spaces.Discrete)
        self.bounds = None if self.discrete else (space.low, space.high)
        self.agent = Agent(
            settings.hidden, space.n if self.discrete else space.shape[0], self.discrete
        )

    def begin(self, key: jax.Array) -> State:
        """A fresh agent in fresh environments."""
        agent_key, reset_key, key = jax.random.split(key, 3)
        keys = jax.random.split(reset_key, self.settings.num_envs)
        obs, env = jax.vmap(self.env.reset, (0, None))(keys, self.params)
        optimiser = optax.chain(
            optax.clip_by_global_norm(self.settings.max_grad_norm),
            optax.adam(self.settings.lr, eps=1e-5),
        )
        learner = TrainState.create(
            apply_fn=self.agent.apply, params=self.agent.init(agent_key, obs), tx=optimiser
        )
        return State(learner, env, obs, key, jnp.zeros((), jnp.int32))

    def train(self, state: State) -> State:
        """All updates."""
        return jax.lax.scan(self.update, state, length=self.settings.updates)[0]

    def update(self, state: State, _) -> tuple[State, None]:
        """Play, then learn."""
        state, played = jax.lax.scan(self.step, state, length=self.settings.num_steps)
        _, last_value = state.learner.apply_fn(state.learner.params, state.obs)
        advantage = self.advantages(played, last_value)
        batch = (played, advantage, advantage + played.value)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        key, *keys = jax.random.split(state.key, self.settings.epochs + 1)
        learner, _ = jax.lax.scan(partial(self.epoch, flat), state.learner, jnp.stack(keys))
        return state._replace(learner=learner, key=key), None

    def step(self, state: State, _) -> tuple[State, Step]:
        """One step of all environments, which restart by themselves."""
        key, action_key, step_key = jax.random.split(state.key, 3)
        policy, value = state.learner.apply_fn(state.learner.params, state.obs)
        action = policy.sample(seed=action_key)
        log_prob = policy.log_prob(action)
        chosen = action if self.bounds is None else jnp.clip(action, *self.bounds)
        keys = jax.random.split(step_key, self.settings.num_envs)
        obs, env, reward, done, _ = jax.vmap(self.env.step, (0, 0, 0, None))(
            keys, state.env, chosen, self.params
        )
        steps = state.steps + self.settings.num_envs
        seen = Step(state.obs, action, log_prob, value, reward, done)
        return State(state.learner, env, obs, key, steps), seen

    def advantages(self, played: Step, last_value: jax.Array) -> jax.Array:
        """Generalised advantage estimation."""
        gamma, decay = self.settings.gamma, self.settings.gamma * self.settings.gae_lambda

        def back(carry, step):
            advantage, following = carry
            goes_on = 1.0 - step.done
            delta = step.reward + gamma * goes_on * following - step.value
            advantage = delta + decay * goes_on * advantage
            return (advantage, step.value), advantage

        start = (jnp.zeros_like(last_value), last_value)
        return jax.lax.scan(back, start, played, reverse=True, unroll=16)[1]

    def epoch(self, batch: Any, learner: TrainState, key: jax.Array) -> tuple[TrainState, None]:
        """A pass over the batch in shuffled minibatches."""
        order = jax.random.permutation(key, self.settings.batch_size)
        split = lambda x: jnp.take(x, order, axis=0).reshape(
            self.settings.minibatches, -1, *x.shape[1:]
        )
        return jax.lax.scan(self.gradient_step, learner, jax.tree.map(split, batch))

    def gradient_step(self, learner: TrainState, minibatch: Any) -> tuple[TrainState, jax.Array]:
        """One step of Adam."""
        loss, gradient = jax.value_and_grad(self.loss)(learner.params, *minibatch)
        return learner.apply_gradients(grads=gradient), loss

    def loss(self, params, played: Step, advantage: jax.Array, target: jax.Array) -> jax.Array:
        """Clipped surrogate, clipped value error and entropy."""
        own = self.settings
        policy, value = self.agent.apply(params, played.obs)
        ratio = jnp.exp(policy.log_prob(played.action) - played.log_prob)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        held_ratio = jnp.clip(ratio, 1 - own.clip, 1 + own.clip)
        surrogate = jnp.minimum(ratio * advantage, held_ratio * advantage).mean()
        held = played.value + jnp.clip(value - played.value, -own.clip, own.clip)
        error = 0.5 * jnp.maximum((value - target) ** 2, (held - target) ** 2).mean()
        entropy = policy.entropy().mean()
        return own.value_coefficient * error - surrogate - own.entropy_coefficient * entropy


def run(settings: Settings) -> Measurement:
    """Time all updates in one compiled program."""
    trainer = Trainer(settings)
    start = jax.jit(trainer.begin)(jax.random.key(settings.seed))
    end, seconds, compile_seconds = timed(jax.jit(trainer.train), start)
    return Measurement(
        steps=int(end.steps),
        seconds=seconds,
        compile_seconds=compile_seconds,
        gradient_steps=int(end.learner.step),
        parameters=count(end.learner.params),
        versions=versions("gymnax", "jax", "jaxlib", "flax", "distrax", "optax"),
    )


if __name__ == "__main__":
    serve(run)
