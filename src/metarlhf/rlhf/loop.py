"""The loop: collect, ask, adapt the reward, PPO; the same from scratch and from a prior.

What differs is only what it starts with: a fresh agent and an ensemble of random reward networks, or
an agent and a belief that were meta-learned.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import ppo
from metarlhf.envs.base import TaskFamily
from metarlhf.feedback import cut, empty
from metarlhf.networks import Agent, build_agent
from metarlhf.reward import Belief, Ensemble, EnsembleConfig, LearnedReward
from metarlhf.rlhf.ask import Answers, ask
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rollout import collect, reset
from metarlhf.types import Segment, Task, Trajectory


class RLHFState(eqx.Module):
    """All there is to know to go on: agent, belief, answers, counters, key."""

    ppo: ppo.TrainState
    belief: Belief
    answers: Answers
    reward: LearnedReward
    steps: Integer[Array, ""]
    round: Integer[Array, ""]
    key: PRNGKeyArray


def start(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    agent: Agent,
    belief: Belief,
    config: RLHFConfig,
) -> RLHFState:
    """Begin to teach `agent` the task, from what `belief` holds likely."""
    ppo_key, key = jax.random.split(key)
    train_state = ppo.init(ppo_key, family, task, config.ppo, agent)
    clip = _blank_clip(family, agent)
    comparisons, ratings = config.labels, 0
    if config.feedback == "ratings":
        comparisons, ratings = ratings, comparisons
    nothing = Answers(empty(clip, comparisons, ratings), jnp.zeros((), jnp.int32))
    reward = LearnedReward(belief, jax.tree.map(lambda x: x[None], clip))
    return RLHFState(
        train_state, belief, nothing, reward, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), key
    )


def from_scratch(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    config: RLHFConfig,
    ensemble: EnsembleConfig = EnsembleConfig(),
) -> RLHFState:
    """Begin with an untrained agent and an ensemble of random reward networks."""
    agent_key, belief_key, key = jax.random.split(key, 3)
    agent = build_agent(
        agent_key, family, config.ppo.hidden, initial_std=config.ppo.initial_std
    )
    belief = Ensemble.create(belief_key, family, ensemble)
    return start(key, family, task, agent, belief, config)


def run_round(
    state: RLHFState, family: TaskFamily, task: Task, config: RLHFConfig
) -> tuple[RLHFState, dict[str, Float[Array, ""]]]:
    """One round with a simulated teacher. Pure; vmap it over tasks."""
    key, collect_key, ask_key, adapt_key = jax.random.split(state.key, 4)
    trajectory = explore(collect_key, family, task, state.ppo.agent, state.belief, config)
    clips, showable = cut(trajectory, family.segment_length, max(1, family.segment_length // 2))
    answers = ask(
        ask_key, state.belief, clips, showable, state.answers, family.reward_bounds, config
    )
    belief = state.belief.adapt(adapt_key, answers.feedback)
    state = RLHFState(
        ppo=tell(state.ppo, belief),
        belief=belief,
        answers=answers,
        reward=LearnedReward(belief, clips),
        steps=state.steps + config.ask_envs * family.horizon,
        round=state.round + 1,
        key=key,
    )
    return practise(state, family, task, config, config.updates)


def practise(
    state: RLHFState, family: TaskFamily, task: Task, config: RLHFConfig, updates: int
) -> tuple[RLHFState, dict[str, Float[Array, ""]]]:
    """`updates` of PPO on the reward as it is believed to be now."""
    if not updates:
        return state, {}
    step = lambda train, _: ppo.iterate(train, family, task, config.ppo, state.reward)
    train, metrics = jax.lax.scan(step, state.ppo, length=updates)
    steps = state.steps + updates * config.ppo.batch_size
    state = eqx.tree_at(lambda s: (s.ppo, s.steps), state, (train, steps))
    return state, jax.tree.map(lambda x: x[-1], metrics)


def explore(
    key: PRNGKeyArray,
    family: TaskFamily,
    task: Task,
    agent: Agent,
    belief: Belief,
    config: RLHFConfig,
) -> Trajectory:
    """Episodes to ask about: each as the agent would act if the task were one that is held possible."""
    context_key, episode_key = jax.random.split(key)
    contexts = belief.sample_contexts(context_key, config.ask_envs)
    if contexts.shape[1] != agent.actor.context.shape[0]:
        contexts = jnp.broadcast_to(agent.actor.context, (config.ask_envs, *agent.actor.context.shape))

    def episode(key, context):
        reset_key, collect_key = jax.random.split(key)
        actor = agent.with_context(context).actor
        begin = reset(reset_key, family, task, actor, 1)
        return collect(collect_key, family, task, actor, begin, family.horizon)[1]

    trajectory = jax.vmap(episode)(jax.random.split(episode_key, config.ask_envs), contexts)
    return jax.tree.map(lambda x: x[:, 0], trajectory)


def tell(train: ppo.TrainState, belief: Belief) -> ppo.TrainState:
    """Tell the agent what is believed about the task, if it was made to be told."""
    context = belief.context()
    if context.shape != train.agent.actor.context.shape or not context.size:
        return train
    return eqx.tree_at(lambda t: t.agent, train, train.agent.with_context(context))


def _blank_clip(family: TaskFamily, agent: Agent) -> Segment:
    """A clip of zeros, for its shape."""
    obs = jnp.zeros((family.segment_length, family.observation_space.size))
    distribution, _ = agent.actor(obs)
    return Segment(obs, distribution.mode(), jnp.zeros(family.segment_length))
