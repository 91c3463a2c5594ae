"""What a command acts in, as its options name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from metarlhf import envs, sampling
from metarlhf.cli.options import EnvironmentOptions, JudgedOptions


@contextmanager
def sampler_of(
    options: EnvironmentOptions, num_envs: int, episodes: int, seed: int
) -> Iterator[sampling.Sampler]:
    """Who acts in the task or the simulator that options name, while its simulators run.

    Args:
        options: the command's.
        num_envs: environments that the sampler collects from.
        episodes: of an evaluation: a host sampler has an environment for each.
        seed: a compiled environment that is no family has a task that is drawn from it.

    Raises:
        UnknownTaskError, SimulatorError: there is none; or nobody could judge it, where options
            are about clips that somebody judges.
    """
    judged = isinstance(options, JudgedOptions)
    if options.env is None or options.env.startswith("gymnax:"):
        env = envs.make_family(options.name) if judged else envs.make(options.name)
        yield sampling.CompiledSampler(env, task_of(env, options.task, seed), num_envs)
        return
    with (
        closing(envs.connect(options.env, num_envs, options.workers)) as env,
        closing(envs.connect(options.env, episodes, options.workers)) as evaluation_env,
    ):
        from metarlhf.envs.base import ShownEnv

        shown = ShownEnv.of(env, options.segment_length) if judged else None
        yield sampling.HostSampler(env, evaluation_env, shown)


def task_of(family: envs.Tasks, index: int, seed: int = 0) -> object:
    """A held-out task of a family, which meta-training never sees; of what is no family, any.

    Args:
        family: of which.
        index: of the held-out task.
        seed: what a task of other environments is drawn from.
    """
    import jax

    from metarlhf.meta.tasks import held_out_tasks

    if not isinstance(family, envs.TaskFamily | envs.HostFamily):
        return family.sample(jax.random.key(seed))
    return jax.tree.map(lambda x: x[index], held_out_tasks(family, index + 1))
