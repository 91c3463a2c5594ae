"""Any Gymnax 1.0 environment as an `Environment`: it compiles, and a task is its parameters.

What of a Gymnax environment's state can be read off what is observed.

A teacher judges clips under tasks that they were not recorded in, and has observations alone. Where
these show all of the state that decides the reward, the simulator itself can be asked again. Nobody
says which component shows what, so it is found out: in sampled steps, a component that always
equals a number of the state shows it, and two that always equal an angle's cosine and sine show
that.

A Gymnax environment some of whose parameters vary from task to task, as a task family.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces as theirs
from gymnax.environments.spaces import gymnax_space_to_gym_space
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from metarlhf.envs.adapters.gymnasium_spaces import (
    action_space,
    observation_space,
    to_action,
    to_observation,
)
from metarlhf.envs.base import Step, TaskFamily
from metarlhf.envs.distributions import Distribution
from metarlhf.envs.spaces import Box, Discrete
from metarlhf.errors import SimulatorError, UnknownTaskError, VariationError
from metarlhf.types import Observation, State, Task


class FromGymnax:
    """`FromGymnax("Pendulum-v1", g=9.0)`: options are parameters, the others stay as they come.

    Every task that it draws is those parameters; those of a `GymnaxFamily` vary.

    Raises:
        UnknownTaskError: Gymnax knows no environment of that name.
        ValueError: a parameter that the environment does not have.
        SimulatorError: a space of another kind than ours, or data that cannot be fetched.
    """

    def __init__(self, identifier: str, **parameters: Any):
        if identifier not in gymnax.registered_envs:
            close = difflib.get_close_matches(identifier, gymnax.registered_envs, n=3, cutoff=0.5)
            hint = f" Close are: {', '.join(close)}." if close else ""
            raise UnknownTaskError(f"Gymnax knows no environment {identifier!r}.{hint}")
        self.name = f"gymnax:{identifier}"
        try:
            self._env, params = gymnax.make(identifier)
        except OSError as error:
            raise SimulatorError(f"{self.name} could not fetch its data: {error}") from error
        self._settle(params.replace(**parameters))

    # Typed as any, for the base of all parameters has few of their fields.
    def _settle(self, params: Any) -> None:
        """Let these be the parameters, with the horizon and the spaces that follow from them."""
        self._params = params
        self.horizon = int(params.max_steps_in_episode)
        try:
            self._sees = gymnax_space_to_gym_space(self._env.observation_space(params))
            self._does = self._acts_in(params)
        except NotImplementedError as error:
            raise SimulatorError(f"{self.name} has spaces that do not convert: {error}") from error
        self.observation_space = observation_space(self._sees)
        self.action_space = action_space(self._does)

    def _acts_in(self, params: Any) -> theirs.Space:
        return gymnax_space_to_gym_space(self._env.action_space(params))

    def sample(self, key: PRNGKeyArray) -> Task:
        return jax.tree.map(jnp.asarray, self._params)

    def reset(self, key: PRNGKeyArray, task: Task) -> tuple[Observation, State]:
        obs, state = self._env.reset_env(key, task)
        return to_observation(self._sees, obs, jnp), state

    def step(
        self, key: PRNGKeyArray, state: State, action: Shaped[Array, "*action"], task: Task
    ) -> Step:
        # Not `step`, which resets by itself and so hides what the action led to.
        told = to_action(self._does, action, jnp)
        obs, state, reward, terminated, _ = self._env.step_env(key, state, told, task)
        truncated = self._env.is_truncated(state, task)
        return Step(
            to_observation(self._sees, obs, jnp),
            state,
            jnp.asarray(reward, jnp.float32).reshape(()),
            jnp.asarray(terminated, bool).reshape(()),
            jnp.asarray(truncated, bool).reshape(()),
        )


CLOSE = 1e-4


class Reading(NamedTuple):
    """Where each number of a state is observed, all numbers of all its leaves in a row."""

    names: tuple[str, ...]
    """Of the components of an observation."""
    places: tuple[tuple[int, ...], ...]
    """Of each number: the component that it is, those of cosine and sine, or none."""

    def state(self, obs: Float[Array, " obs"], like: State) -> State:
        """The state that is seen as `obs`; what is not seen of it is as in `like`."""
        leaves, structure = jax.tree.flatten(like)
        places, found = iter(self.places), []
        for leaf in leaves:
            leaf = jnp.asarray(leaf)
            numbers = [_read(obs, next(places), number) for number in leaf.ravel()]
            found.append(jnp.stack(numbers).reshape(leaf.shape).astype(leaf.dtype))
        return jax.tree.unflatten(structure, found)


def _read(obs: Array, place: tuple[int, ...], otherwise: Any) -> Any:
    if not place:
        return otherwise
    if len(place) == 1:
        return obs[place[0]]
    return jnp.arctan2(obs[place[1]], obs[place[0]])


def reading(states: State, obs: Float[np.ndarray, "step obs"]) -> Reading:
    """What `obs` shows of `states`, whose leaves have a leading dimension `step`."""
    names = [f"obs {i}" for i in range(obs.shape[1])]
    places: list[tuple[int, ...]] = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(states)[0]:
        field = jax.tree_util.keystr(path, simple=True, separator=" ").replace("_", " ")
        numbers = np.asarray(leaf, np.float64).reshape(len(obs), -1)
        for i, number in enumerate(numbers.T):
            name = field if numbers.shape[1] == 1 else f"{field} {i}"
            place = _where(obs, number)
            if len(place) == 1:
                names[place[0]] = name
            elif place:
                names[place[0]], names[place[1]] = f"cos {name}", f"sin {name}"
            places.append(place)
    return Reading(tuple(names), tuple(places))


def _where(obs: np.ndarray, number: np.ndarray) -> tuple[int, ...]:
    """The components that show a number; none for what never changes, which may equal anything."""
    if np.ptp(number) < CLOSE:
        return ()

    def component(values: np.ndarray) -> int | None:
        equal = np.all(
            np.abs(obs - values[:, None]) < CLOSE * (1 + np.abs(values[:, None])), axis=0
        )
        return int(equal.argmax()) if equal.any() else None

    itself = component(number)
    if itself is not None:
        return (itself,)
    cosine, sine = component(np.cos(number)), component(np.sin(number))
    return () if cosine is None or sine is None else (cosine, sine)


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
                "--reward task"
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
