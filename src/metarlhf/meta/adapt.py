"""Teaching one new task, from what was meta-learned."""

from functools import partial

import jax
from jaxtyping import PRNGKeyArray

from metarlhf import rlhf
from metarlhf.envs.base import TaskFamily
from metarlhf.errors import WrongFamilyError
from metarlhf.meta.prior import Prior
from metarlhf.sampling import CompiledSampler
from metarlhf.types import Task


@partial(jax.jit, static_argnames=("family", "config"))
def adapt(
    key: PRNGKeyArray, family: TaskFamily, task: Task, prior: Prior, config: rlhf.RLHFConfig
) -> rlhf.RLHFState:
    """Ask until the answers are spent, in one compiled program. Pure; vmap it over tasks.

    The adapted agent is `state.ppo.agent`, of the same type as the prior's; what it was told is in
    `state.answers`, what it believes about the reward in `state.belief`.

    Raises:
        WrongFamilyError: the prior was meta-trained on another family.
    """
    if prior.shape.family != family.name:
        raise WrongFamilyError(
            f"the prior was meta-trained on {prior.shape.family!r}, not on {family.name!r}: teach "
            "it a task of that family, or meta-train on this one"
        )
    learning = family.without_termination()
    state = rlhf.start(
        key,
        CompiledSampler(learning, task, config.ppo.num_envs),
        prior.agent,
        prior.belief,
        config,
        prior.library,
    )
    play = lambda state, _: (
        rlhf.run_round(state, CompiledSampler(learning, task, config.ppo.num_envs), config)[0],
        None,
    )
    state, _ = jax.lax.scan(play, state, length=config.rounds)
    return rlhf.finish(state, CompiledSampler(learning, task, config.ppo.num_envs), config)
