"""How the outer loop moves what is meta-learned: each way is one pure function, an `OuterStep`.

- `gradient_steps`: several steps of Adam on the same data, held near by clipping and by ProMP's
  penalty.
- `trust_region_step`: one natural-gradient step, bounded by how far *adapted* policies move (Finn
  et al. 2017 meta-train so). No penalty and no clipping are needed.
- `towards_adapted`: no gradient at all, but a part of the way to the adapted policies (Reptile:
  Nichol et al. 2018).

The value function of the last two learns by Adam, as that of the first does.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf import optimise
from metarlhf.devices import spread
from metarlhf.meta.config import MetaRLConfig
from metarlhf.meta.inner import InnerLoop
from metarlhf.meta.objective import (
    Learned,
    Metrics,
    collected,
    gained,
    kl_from_collecting,
    mean_value_loss,
    meta_loss,
    over_steps,
    replay,
    replay_all,
)
from metarlhf.meta.tasks import mean_over_tasks
from metarlhf.meta.update_rules import LearnedRule
from metarlhf.networks import Agent
from metarlhf.ppo.objectives import constrained_step, fisher_products
from metarlhf.ppo.update import adapt_kl_coefficient


class MetaRLState(eqx.Module):
    """All there is to know to go on meta-training."""

    agent: Agent
    rule: LearnedRule
    optimiser: optax.OptState
    kl_coefficient: Float[Array, " inner_step"]
    iteration: Integer[Array, ""]
    key: PRNGKeyArray


# Learns from collected inner loops; metrics are those of its last step.
OuterStep = Callable[[MetaRLState, InnerLoop, MetaRLConfig], tuple[MetaRLState, Metrics]]


def optimiser(config: MetaRLConfig) -> optax.GradientTransformation:
    """Adam, with a step size of its own for each thing that an update rule has learned."""
    updates = config.iterations * config.epochs

    def schedule(lr):
        return optax.linear_schedule(lr, 0.0, updates) if config.anneal_lr else lr

    return optax.multi_transform(
        {
            "parameters": optax.adam(schedule(config.lr)),
            "step sizes": optax.adam(schedule(config.step_size_lr)),
            "network": optax.adam(schedule(config.network_lr)),
        },
        # By position, as prefixes of (agent, rule): an agent and an offset are parameters.
        ("parameters", LearnedRule("step sizes", "parameters", "network")),
    )


def outer_step(config: MetaRLConfig) -> OuterStep:
    """The one that `config` asks for."""
    if config.method == "guided":
        raise ValueError(
            "guided meta-training is told what experts do, which meta.outer.iterate takes. Choose "
            "another method, such as promp, where there are none"
        )
    if config.method == "reptile":
        return towards_adapted
    return trust_region_step if config.outer_step == "trpo" else gradient_steps


def gradient_steps(
    state: MetaRLState, loop: InnerLoop, config: MetaRLConfig
) -> tuple[MetaRLState, Metrics]:
    """`config.epochs` steps of Adam down the meta-gradient."""

    def loss(learned, data):
        return meta_loss(learned, data, state.kl_coefficient, config)

    return held_near(*descend(state, loss, collected(loop, config), config), config)


def held_near(
    state: MetaRLState, aux: tuple[Metrics, Array], norm: Array, config: MetaRLConfig
) -> tuple[MetaRLState, Metrics]:
    """After steps of Adam: the weight of the KL penalty for the next, where it has a target."""
    metrics, kl = aux
    if config.kl_target:
        adapted = jax.vmap(partial(adapt_kl_coefficient, target=config.kl_target))
        state = replace(state, kl_coefficient=adapted(state.kl_coefficient, kl))
    return state, metrics | {"meta_gradient_norm": norm, "kl": kl.mean()}


def trust_region_step(
    state: MetaRLState, loop: InnerLoop, config: MetaRLConfig
) -> tuple[MetaRLState, Metrics]:
    """One step of policy and update rule, within `config.kl_bound` nats after adaptation."""
    moved = (state.agent.actor, state.rule)
    data = collected(loop, config)
    # Tasks are drawn independently: the first of them are as good as any.
    some = spread(jax.tree.map(lambda x: x[:, : config.curvature_tasks], data), axis=1)
    learned = lambda moved: (Agent(moved[0], state.agent.critic), moved[1])

    def gain_and_kl(moved, data):
        judged = replay_all(learned(moved), data, config)
        return gained(judged, config), over_steps(judged.kl_after, config)

    def adapted(moved):
        one = lambda task: replay(learned(moved), task.support, task.query, config)[1]
        return jax.vmap(one, in_axes=1)(some)

    def divergence(adapted):
        each = jax.vmap(jax.vmap(kl_from_collecting), in_axes=(1, 0))
        return over_steps(each(some.query, adapted), config)

    over_tasks = lambda of: mean_over_tasks(of, data, config.tasks_at_once)
    gain = jax.value_and_grad(lambda moved, data: gain_and_kl(moved, data)[0])
    (actor, rule), found = constrained_step(
        moved,
        over_tasks(partial(gain, moved)),
        fisher_products(adapted, divergence, moved),
        lambda moved: over_tasks(partial(gain_and_kl, moved)),
        config.kl_bound,
    )
    state, metrics = _values_learned(state, loop, config)
    state = replace(state, agent=Agent(actor, state.agent.critic), rule=rule)
    return state, metrics | {
        "surrogate": -found["surrogate"], "kl": found["kl"], "accepted": found["accepted"],
    }  # fmt: skip


def towards_adapted(
    state: MetaRLState, loop: InnerLoop, config: MetaRLConfig
) -> tuple[MetaRLState, Metrics]:
    """`config.reptile_step` of the way to the mean, over tasks, of policies after the last step."""
    left = 1.0 - state.iteration / config.iterations if config.anneal_lr else 1.0
    part = config.reptile_step * left
    move = lambda p, adapted: p + part * (adapted[-1].mean(0) - p)
    actor = jax.tree.map(move, state.agent.actor, loop.agents.actor)
    way = optax.tree.norm(jax.tree.map(jnp.subtract, actor, state.agent.actor))
    state, metrics = _values_learned(state, loop, config)
    return replace(state, agent=Agent(actor, state.agent.critic)), metrics | {"moved": way}


def _values_learned(state, loop, config):
    """The value function alone: Adam leaves what has never had a gradient."""

    def loss(learned, query):
        value_loss = mean_value_loss(learned[0].critic, query, config)
        return config.value_coefficient * value_loss, {"value_loss": value_loss}

    state, metrics, _ = descend(state, loss, loop.query, config)
    return state, metrics


def descend(state, loss, data, config):
    """`config.epochs` steps of Adam; of the last, what `loss` says beside its value, and the norm
    of the gradient without the value function's part.
    """

    def epoch(carry, _):
        learned, optimiser_state = carry
        of = partial(jax.grad(loss, has_aux=True), learned)
        gradient, aux = mean_over_tasks(of, data, config.tasks_at_once)
        norm = optax.tree.norm((gradient[0].actor, gradient[1]))
        return optimise.step(optimiser(config), gradient, optimiser_state, learned), (aux, norm)

    learned: Learned = (state.agent, state.rule)
    ((agent, rule), optimiser_state), each = jax.lax.scan(
        epoch, (learned, state.optimiser), length=config.epochs
    )
    aux, norm = jax.tree.map(lambda x: x[-1], each)
    state = replace(state, agent=agent, rule=rule, optimiser=optimiser_state)
    return state, aux, norm
