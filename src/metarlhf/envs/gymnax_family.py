"""A Gymnax environment some of whose parameters vary from task to task, as a task family."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.base import TaskFamily
from metarlhf.envs.distributions import Distribution
from metarlhf.envs.errors import SimulatorError, VariationError
from metarlhf.envs.from_gymnax import FromGymnax
from metarlhf.envs.gymnax_states import reading
from metarlhf.envs.spaces import Box, Discrete
from metarlhf.types import Task

# Tasks, and steps in each, that a family is looked at in before it is used.
TASKS, STEPS = 16, 200
LONGEST_CLIP = 50
# What follows from other parameters, and is a parameter of its own: else a longer pole would keep
# the moment of a short one.
DERIVED = {
    "CartPole-v1": {
        "total_mass": lambda p: p.masscart + p.masspole,
        "polemass_length": lambda p: p.masspole * p.length,
    }
}


class Looked(NamedTuple):
    """Steps of random actions in sampled tasks, a row each."""

    tasks: Task
    states: Any
    obs: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    reward: np.ndarray


class GymnaxFamily(FromGymnax):
    """`GymnaxFamily("Pendulum-v1", {"g": distribution("uniform(5,15)")})`.

    Its name says what varies, so that whatever was published of it finds it again. What a teacher
    has to know of a family and nobody says is found out by random actions in sampled tasks: what
    the components of an observation are called, and between which bounds rewards lie (those seen,
    and 0, what nothing pays).

    Raises:
        VariationError: a parameter that there is not, or that cannot vary; the message says why.
        SimulatorError: observations or actions that no family has, such as pictures.
    """

    def __init__(
        self,
        identifier: str,
        vary: Mapping[str, Distribution],
        reward_bounds: tuple[float, float] | None = None,
        segment_length: int | None = None,
    ):
        super().__init__(identifier)
        self._check(vary)
        self._varied = {name: one for name, one in vary.items() if one.varies}
        rules = DERIVED.get(identifier, {})
        self._derived = {name: rule for name, rule in rules.items() if name not in vary}
        usual = {name: getattr(self._params, name) for name in vary.keys() - self._varied.keys()}
        fixed = {name: type(value)(vary[name].numbers[0]) for name, value in usual.items()}
        self._settle(self._params.replace(**fixed))
        said = "&".join(f"{name}={one}" for name, one in vary.items())
        self.name: str = f"gymnax:{identifier}?{said}"
        self.varies = ", ".join(f"{name} {one}" for name, one in self._varied.items()) or "nothing"
        self._check_spaces()
        self.segment_length = segment_length or min(LONGEST_CLIP, max(1, self.horizon // 10))
        looked = self._look(jax.random.key(0))
        self._reading = reading(looked.states, looked.obs)
        self.observation_space = self.observation_space._replace(names=self._reading.names)
        self._judges = self._reproduces(looked)
        low, high = min(0.0, float(looked.reward.min())), max(0.0, float(looked.reward.max()))
        self.reward_bounds = reward_bounds or (low, high if low < high else low + 1.0)

    def sample(self, key: PRNGKeyArray) -> Task:
        keys = jax.random.split(key, max(1, len(self._varied)))
        drawn = {n: d.sample(k) for (n, d), k in zip(self._varied.items(), keys, strict=False)}
        params = self._params.replace(**drawn)
        params = params.replace(**{name: rule(params) for name, rule in self._derived.items()})
        return jax.tree.map(jnp.asarray, params)

    def reward(
        self,
        obs: Float[Array, " obs"],
        action: Shaped[Array, "*action"],
        next_obs: Float[Array, " obs"],
        task: Task,
    ) -> Float[Array, ""]:
        """What the simulator pays when it is asked again.

        Raises:
            SimulatorError: observations do not show what decides that.
        """
        if not self._judges:
            raise SimulatorError(
                f"a teacher cannot judge clips of {self.name} that were recorded in another task: "
                "its observations do not show all that decides its reward. What the tasks "
                "themselves pay can be learned from: metarlhf meta-train with --method promp "
                "--config.reward task"
            )
        return self._again(obs, action, task)

    def without_termination(self) -> TaskFamily:
        """What an end means to the simulator nobody can say: it stays."""
        return self  # type: ignore[return-value]  # whose spaces were checked

    def _again(self, obs: Array, action: Array, task: Task) -> Float[Array, ""]:
        key = jax.random.key(0)
        _, like = self.reset(key, task)
        return self.step(key, self._reading.state(obs, like), action, task).reward

    def _check(self, vary: Mapping[str, Distribution]) -> None:
        """Refuse what cannot vary, each for its reason."""
        fields = dataclasses.fields(self._params)
        known = {entry.name: getattr(self._params, entry.name) for entry in fields}
        for name, one in vary.items():
            if name not in known:
                raise VariationError(
                    f"{self.name} has no parameter {name!r}; those it has are: {', '.join(known)}"
                )
            value = known[name]
            if isinstance(value, bool) or np.ndim(value) or not isinstance(value, int | float):
                raise VariationError(
                    f"{name} of {self.name} cannot be {one}: it is {value!r}, and not a number"
                )
            whole = isinstance(value, int) or name == "max_steps_in_episode"
            if whole and (one.varies or one.numbers[0] != int(one.numbers[0])):
                raise VariationError(
                    f"{name} of {self.name} cannot be {one}: it is a whole number ({value}), which "
                    "decides what is counted or how long arrays are. Give it one whole number for "
                    "all tasks, or vary another"
                )

    def _check_spaces(self) -> None:
        """All tasks are acted in alike, by one network."""
        bare = self.name.partition("?")[0]
        if not isinstance(self.observation_space, Box):
            raise SimulatorError(
                f"{self.name} is seen as {self.observation_space}: families are seen as vectors. "
                "PPO learns in one task of it: metarlhf ppo --env with the name before the '?'"
            )
        if not isinstance(self.action_space, Box | Discrete):
            raise SimulatorError(
                f"{self.name} is acted in by {self.action_space}: expected Box or Discrete"
            )
        for name, one in self._varied.items():
            for number in (min(one.numbers), max(one.numbers)):
                params = self._params.replace(**{name: number})
                if self._acts_in(params) != self._does:
                    raise VariationError(
                        f"{name} of {bare} cannot vary: it decides what actions there are, and one "
                        "policy acts in all tasks"
                    )

    def _look(self, key: PRNGKeyArray) -> Looked:
        """Random actions in sampled tasks."""

        def one(key: PRNGKeyArray):
            task_key, reset_key, key = jax.random.split(key, 3)
            task = self.sample(task_key)

            def step(carry, key):
                obs, state = carry
                action_key, step_key, reset_key = jax.random.split(key, 3)
                action = self._random_action(action_key)
                after = self.step(step_key, state, action, task)
                fresh = self.reset(reset_key, task)
                done = after.terminated | after.truncated
                going = jax.tree.map(
                    lambda new, old: jnp.where(done, new, old), fresh, (after.obs, after.state)
                )
                return going, (task, state, obs, action, after.obs, after.reward)

            keys = jax.random.split(key, min(STEPS, self.horizon))
            return jax.lax.scan(step, self.reset(reset_key, task), keys)[1]

        found = jax.jit(jax.vmap(one))(jax.random.split(key, TASKS))
        return Looked(*jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), found))

    def _random_action(self, key: PRNGKeyArray) -> Array:
        space = self.action_space
        if isinstance(space, Discrete):
            return jax.random.randint(key, (), 0, space.size)
        assert isinstance(space, Box)
        return space.from_unit(jax.random.uniform(key, (space.size,), minval=-1.0, maxval=1.0))

    def _reproduces(self, looked: Looked) -> bool:
        """Whether what was paid can be asked for again; all but a thousandth of it, by rounding."""
        paid = np.asarray(jax.jit(jax.vmap(self._again))(looked.obs, looked.action, looked.tasks))
        return float(np.mean(np.isclose(paid, looked.reward, rtol=1e-3, atol=1e-3))) > 0.999
