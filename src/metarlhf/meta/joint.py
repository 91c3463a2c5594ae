"""Meta-training of reward and policy together, with a teacher's answers on training tasks.

An iteration has an inner loop, for each of a batch of training tasks: a little RLHF (ask a few
questions, chosen by what they tell; adapt the reward), after which the policy is told what is
believed and plays. And an outer loop: the policy learns from all these episodes, paid by the task's
own reward as meta-training has learned it from many more answers; its clips go to a pool; the
teacher answers about clips of the pool for many tasks, and the reward learns from that. So reward
and policy see ever better behaviour of each other, and the policy learns what to do with little
knowledge.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import optimise
from metarlhf.envs.base import TaskFamily
from metarlhf.envs.registry import check_name
from metarlhf.feedback import Library, empty
from metarlhf.meta import conditioned, reward_latent
from metarlhf.meta.joint_config import JointConfig
from metarlhf.meta.prior import PosteriorPrior, PosteriorShape
from metarlhf.meta.reward_latent import LatentRewardState
from metarlhf.meta.tasks import draw_clips, put
from metarlhf.networks import Agent, build_agent
from metarlhf.reward import LatentPosterior
from metarlhf.rlhf import RLHFConfig
from metarlhf.rlhf.ask import Answers, ask
from metarlhf.sampling import episode_return
from metarlhf.training import Loop
from metarlhf.training import iterate as run
from metarlhf.types import Task


class JointState(eqx.Module):
    """All there is to know to go on."""

    reward: LatentRewardState
    agent: Agent
    optimiser: optax.OptState
    pool: Library
    tasks: Task
    iteration: Integer[Array, ""]
    key: PRNGKeyArray


def _policy_optimiser(config: JointConfig) -> optax.GradientTransformation:
    steps = config.iterations * config.ppo.epochs * config.ppo.minibatches
    lr = optax.linear_schedule(config.ppo.lr, 0.0, steps) if config.ppo.anneal_lr else config.ppo.lr
    return optax.chain(
        optax.clip_by_global_norm(config.ppo.max_grad_norm), optax.adam(lr, eps=1e-5)
    )


def _untold(agent: Agent) -> Agent:
    return agent.with_context(jnp.zeros(0))


@partial(jax.jit, static_argnames=("family", "config"))
def init(key: PRNGKeyArray, family: TaskFamily, config: JointConfig) -> JointState:
    """Draw the training tasks, and fill the pool with what an untrained policy does."""
    family = family.without_termination()
    task_key, reward_key, agent_key, play_key, pool_key, key = jax.random.split(key, 6)
    tasks = jax.vmap(family.sample)(jax.random.split(task_key, config.reward.num_tasks))
    reward = reward_latent.init(reward_key, family, config.reward, config.reward_rest)
    agent = build_agent(
        agent_key,
        family,
        config.ppo.hidden,
        context_size=config.reward.latent_size,
        initial_std=config.ppo.initial_std,
    )
    few = jax.tree.map(lambda x: x[: config.tasks], tasks)
    trajectory = conditioned.collect_tasks(
        play_key, family, few, agent, reward.bank[: config.tasks], config.episodes
    )
    pool = draw_clips(pool_key, family, trajectory, config.pool)
    optimiser = optimise.begin(_policy_optimiser(config), _untold(agent))
    return JointState(reward, agent, optimiser, pool, tasks, jnp.zeros((), jnp.int32), key)


def meta_iterate(
    state: JointState, family: TaskFamily, config: JointConfig
) -> tuple[JointState, dict[str, Float[Array, ""]]]:
    """One iteration of meta-training. Pure."""
    key, task_key, inner_key, play_key, pool_key, place_key, reward_key, learn_key = (
        jax.random.split(state.key, 8)
    )
    family = family.without_termination()
    # No task is among the hypotheses of an inner loop, as a new task will not be.
    index, rivals = jnp.split(
        jax.random.permutation(task_key, config.reward.num_tasks), [config.tasks]
    )
    tasks = jax.tree.map(lambda x: x[index], state.tasks)
    bank = state.reward.bank
    hypotheses = bank[rivals[: config.inner_particles]]
    contexts = _inner_loop(inner_key, state, family, tasks, bank[index], hypotheses, config)
    trajectory = conditioned.collect_tasks(
        play_key, family, tasks, state.agent, contexts, config.episodes
    )
    new = draw_clips(pool_key, family, trajectory, config.pool_new)
    pool = put(place_key, state.pool, new)

    reward, reward_metrics = _learn_reward(state, reward_key, family, pool, config)
    weights = reward.model.decoder(reward.bank[index])
    paid = jnp.einsum("betf,bf->bet", reward.model.phi(trajectory.obs, trajectory.action), weights)
    agent, optimiser, metrics = conditioned.learn(
        learn_key, state.agent, state.optimiser, _policy_optimiser(config),
        trajectory.with_reward(paid), contexts, config.ppo,
    )  # fmt: skip
    metrics |= reward_metrics | {
        "return": episode_return(trajectory)[config.tasks_told_all :].mean()
    }
    return JointState(
        reward, agent, optimiser, pool, state.tasks, state.iteration + 1, key
    ), metrics


def _inner_loop(
    key: PRNGKeyArray,
    state: JointState,
    family: TaskFamily,
    tasks: Task,
    own: Float[Array, "task latent"],
    hypotheses: Float[Array, "particle latent"],
    config: JointConfig,
) -> Float[Array, "task latent"]:
    """What each task's policy is told: what is believed after some answers, or its `own`."""
    clip_key, ask_key, count_key = jax.random.split(key, 3)
    # Tasks come in random order: the first are as good as any to be told all.
    known = config.tasks_told_all
    asked = jax.tree.map(lambda x: x[known:], tasks)
    num_asked = own.shape[0] - known
    prior = LatentPosterior.prior(state.reward.model, hypotheses)
    drawn = jax.random.choice(clip_key, config.pool, (config.inner_clips,), replace=False)
    clips = state.pool[drawn]
    counts = jax.random.randint(count_key, (num_asked,), 0, config.inner_labels + 1)
    asking = RLHFConfig(
        labels=config.inner_labels,
        rounds=1,
        candidates=config.inner_candidates,
        teacher=config.teacher,
    )

    def belief_after(key, task, count):
        seen = clips.seen_under(family, task)
        nothing = Answers(empty(seen[0], config.inner_labels, 0), jnp.zeros((), jnp.int32))
        showable = jnp.ones(config.inner_clips, bool)
        feedback = ask(key, prior, seen, showable, nothing, family.reward_bounds, asking).feedback
        weight = feedback.comparisons.weight * (jnp.arange(config.inner_labels) < count)
        feedback = eqx.tree_at(lambda f: f.comparisons.weight, feedback, weight)
        return prior.adapt(key, feedback).context()

    told = jax.vmap(belief_after)(jax.random.split(ask_key, num_asked), asked, counts)
    return jnp.concatenate([own[:known], told])


def _learn_reward(state, key, family, pool, config):
    def step(reward, key):
        draw_key, step_key = jax.random.split(key)
        index = jax.random.randint(draw_key, (config.clips,), 0, config.pool)
        return reward_latent.train_step(
            reward, step_key, family, state.tasks, pool[index], config.teacher, config.reward,
            config.reward_rest,
        )  # fmt: skip

    keys = jax.random.split(key, config.reward_steps)
    reward, metrics = jax.lax.scan(step, state.reward, keys)
    return reward, jax.tree.map(jnp.mean, metrics)


def prior_of(state: JointState, family: TaskFamily, config: JointConfig) -> PosteriorPrior:
    """What has been meta-learned so far, to teach new tasks from.

    Raises:
        ValueError: the family's name stands for another one, see `envs.check_name`.
    """
    check_name(family)
    # Where the pool's clips stand is random already, so its first ones are as good as any.
    library = state.pool[jnp.arange(config.library)]
    shape = PosteriorShape(
        family=family.name,
        library=config.library,
        hidden=config.ppo.hidden,
        particles=config.reward.num_tasks,
        latent_size=config.reward.latent_size,
        num_features=config.reward.num_features,
        reward_hidden=config.reward.hidden,
    )
    belief = LatentPosterior.prior(state.reward.model, state.reward.bank)
    return PosteriorPrior(agent=state.agent, belief=belief, library=library, shape=shape)


@partial(jax.jit, static_argnames=("family", "config"))
def iterate(
    state: JointState, family: TaskFamily, config: JointConfig
) -> tuple[JointState, dict[str, Float[Array, ""]]]:
    """`meta_iterate`, compiled."""
    return meta_iterate(state, family, config)


def training(key: PRNGKeyArray, family: TaskFamily, config: JointConfig) -> Loop[JointState]:
    """Meta-training as a `training.Loop`; a step is an iteration.

    Args:
        key: all randomness follows from it.
        family: learned from are tasks of its `without_termination()`: an episode that ends at the
            hidden goal would give it away.
        config: how it is meta-trained.
    """
    family = family.without_termination()

    def step(state: JointState, done: int) -> tuple[JointState, dict[str, float]]:
        state, metrics = iterate(state, family, config)
        return state, {name: float(value) for name, value in metrics.items()}

    return Loop(lambda: init(key, family, config), step, config.iterations, unit="iterations")


def meta_train(
    state: JointState, family: TaskFamily, config: JointConfig
) -> Iterator[tuple[JointState, dict[str, Any]]]:
    """Meta-train until `config.iterations` are done, yielding state and metrics after each.

    Stop iterating to stop, keep a state to go on from it.

    Raises:
        DivergedError: the state or a return is no number any more.
    """
    loop = training(state.key, family, config)
    for after, metrics in run(loop, state, done=int(state.iteration)):
        yield after, {"iteration": int(after.iteration)} | metrics
