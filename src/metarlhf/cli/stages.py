"""What a lesson is about: a task of a family, or somebody's simulator; and how it begins."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import rlhf
from metarlhf.cli.environment import task_of
from metarlhf.cli.lesson_options import Teach
from metarlhf.envs import Discrete, HostEnv, connect, film, make_family
from metarlhf.envs.adapters.replays import Remembered
from metarlhf.envs.base import ShownEnv
from metarlhf.errors import UserError
from metarlhf.meta.prior import PosteriorPrior, load_prior
from metarlhf.rlhf import RLHFState
from metarlhf.rlhf.demonstrations import Demonstrations, read_demonstrations
from metarlhf.sampling import CompiledSampler
from metarlhf.teach.stage import CompiledStage, HostStage, Stage

# Steps that a simulator must do again in the same way before anything is learned from it.
TRIED = 20
# Folded into the key that cloning draws from: the rest begins from the key itself.
CLONING = 0xC10E


class Beginning(NamedTuple):
    """A stage, how a lesson on it begins, and what somebody showed before."""

    stage: Stage
    start: Callable[[], RLHFState]
    demonstrations: Demonstrations | None


@contextmanager
def beginning(options: Teach) -> Iterator[Beginning]:
    """All that is named, found and tried, while its simulators run.

    Raises:
        UserError, SimulatorError, UnknownTaskError, PublishedFileError: something is not there, or
            of no use.
    """
    if options.env is None:
        yield _with_family(options)
        return
    count = options.config.ppo.num_envs
    with (
        closing(connect(options.env, count, options.workers, seeded=True)) as env,
        closing(connect(options.env, 1, seeded=True)) as show_env,
    ):
        shown = ShownEnv.of(env, options.segment_length)
        _can_be_filmed(options.env, show_env)
        yield _on_host(options, HostStage(Remembered(env), Remembered(show_env), shown))


def _with_family(options: Teach) -> Beginning:
    family, config = make_family(options.name), options.config
    task, key = task_of(family, options.task), jax.random.key(options.seed)
    sampler = CompiledSampler(family, task, config.ppo.num_envs)
    stage = CompiledStage(sampler)
    if options.prior is not None:
        prior, start = load_prior(options.prior), eqx.filter_jit(rlhf.start)
        assert isinstance(prior, PosteriorPrior)  # As the options were read.
        parts = (prior.agent, prior.belief, config, prior.library)
        return Beginning(stage, lambda: start(key, sampler, *parts), None)
    start = lambda: rlhf.from_scratch(key, sampler, config, options.ensemble)
    return _cloned(options, stage, start)


def _on_host(options: Teach, stage: HostStage) -> Beginning:
    key, parts = jax.random.key(options.seed), (stage.sampler, options.config, options.ensemble)
    return _cloned(options, stage, lambda: rlhf.from_scratch(key, *parts))


def _cloned(options: Teach, stage: Stage, start: Callable[[], RLHFState]) -> Beginning:
    """Begin as somebody showed, if they did."""
    if options.demonstrations is None:
        return Beginning(stage, start, None)
    seen = read_demonstrations(options.demonstrations, stage.shown)
    return Beginning(stage, partial(_clone, options, start, seen), seen)


def _clone(options: Teach, start: Callable[[], RLHFState], seen: Demonstrations) -> RLHFState:
    state, key = start(), jax.random.fold_in(jax.random.key(options.seed), CLONING)
    agent = rlhf.clone(key, state.ppo.agent, seen.obs, seen.action, options.cloning)
    return eqx.tree_at(lambda s: s.ppo.agent, state, agent)


def _can_be_filmed(name: str, env: HostEnv) -> None:
    """Refuse a simulator that nobody could be shown films of.

    Raises:
        SimulatorError: it does not draw itself here.
        UserError: it never does the same again, or goes on for ever.
    """
    with closing(film(name)) as filmed:
        filmed.reset(0)
        filmed.frame()
    if env.horizon is None:
        raise UserError(
            f"{name} has no time limit, and a film would have to begin with the first of any "
            "number of steps: register it with max_episode_steps, for example 1000"
        )
    rng = np.random.default_rng(0)
    space = env.action_space
    raw = rng.normal(size=(TRIED, 1, space.size)).astype(np.float32)
    if isinstance(space, Discrete):
        raw = rng.integers(space.size, size=(TRIED, 1))
    actions = np.asarray(space.from_unit(jnp.asarray(raw)))
    if not np.array_equal(_episode(env, actions), _episode(env, actions), equal_nan=True):
        raise UserError(
            f"{name} does something else each time, also from the same seed and by the same "
            "actions, so a film would not show what was done. All that is random in it must come "
            "from self.np_random, which reset(seed=...) sets"
        )


def _episode(env: HostEnv, actions: np.ndarray) -> np.ndarray:
    return np.stack([env.reset(1), *(env.step(action).next_obs for action in actions)])
