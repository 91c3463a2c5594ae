"""Losses of the inner loop, told apart by what their *second* derivatives are.

A meta-gradient differentiates the gradient of the inner loss. All losses here have the policy
gradient as their first derivative, where the policy is the one that collected; their derivatives of
it differ. All that holds without discounting: where there is some, `dice_loss` has the gradient of
the discounted return itself, in which a step counts the less the later it is, and the others leave
that factor out, as policy gradients commonly do.

- `log_prob_loss` counts how the update changes with the policy on the data as they are (Finn et al.
  2017). It misses that another policy would have collected other data: exploring gets no credit.
  Biased.
- `lvc_loss` counts that too, step by step: low variance curvature (Rothfuss et al. 2019, section
  5). A small bias is left: an action's effect on *later* steps' data is not counted.
- `dice_loss` counts all (Foerster et al. 2018). Unbiased to all orders, and of high variance, as it
  knows no baseline.
- `loaded_dice_loss` counts all by advantages (Farquhar et al. 2019), or the less of what is far off
  the smaller its decay: from `lvc_loss`'s variance at 0 to `dice_loss`'s bias, none, at 1 (and
  with no discount).

Losses are means over steps, so `advantage` carries each step's weight (see `Samples`). First-order
MAML is any of them under `stop_gradient`. Benchmark `estimators`: each one's bias and deviation.

From trajectories to what a gradient step learns from: advantages over each task's baseline.

The baseline is linear in features of observation and time, fitted by ridge regression to the task's
own few episodes (Duan et al. 2016, supplement; as in Finn et al. 2017). It needs no training, so it
fits a task never seen before as well as any other, which a value network of all tasks cannot.

The value network does what the baseline cannot: it says what a *truncated* episode would still have
been worth. It learns in the outer loop, by regression on episodes after adaptation, and the inner
loop leaves it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from metarlhf.networks import Agent, Critic, Distribution
from metarlhf.ppo import gae
from metarlhf.types import Trajectory


def log_prob_loss(
    log_prob: Float[Array, "*batch"], advantage: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """-mean(log pi A): the plain score-function loss."""
    return -jnp.mean(log_prob * advantage)


def lvc_loss(
    log_prob: Float[Array, "*batch"],
    collected_log_prob: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
) -> Float[Array, ""]:
    """-mean(pi / pi_collected A); `collected_log_prob` is a constant.

    Where the policy has moved on since it collected, in later epochs of the outer loop, the ratio
    is the importance weight that the moved policy needs.
    """
    return -jnp.mean(jnp.exp(log_prob - collected_log_prob) * advantage)


def dice_loss(
    log_prob: Float[Array, "*batch time"], paid: Float[Array, "*batch time"]
) -> Float[Array, ""]:
    """-mean(magic(sum_{k<=t} log pi_k) r_t), where magic(x) = exp(x - sg(x)).

    Each row is one episode; `paid` is the discounted reward, zero after the episode's end.
    """
    return -jnp.mean(_magic(jnp.cumsum(log_prob, axis=-1)) * paid)


def loaded_dice_loss(
    log_prob: Float[Array, "*batch time"], advantage: Float[Array, "*batch time"], decay: float
) -> Float[Array, ""]:
    """-mean((magic(s_t) - magic(s_t - log pi_t)) A_t), with s_t = sum_{k<=t} decay^{t-k} log pi_k.

    Each row is one episode; `advantage` is zero after its end. Loaded DiCE (Farquhar et al. 2019):
    `decay` 1 counts an action's effect on all later steps, 0 on none, which is `lvc_loss`.
    """

    def step(before, now):
        past = decay * before + now
        return past, past

    by_time = jnp.moveaxis(log_prob, -1, 0)
    _, past = jax.lax.scan(step, jnp.zeros_like(by_time[0]), by_time)
    past = jnp.moveaxis(past, 0, -1)
    return -jnp.mean((_magic(past) - _magic(past - log_prob)) * advantage)


def _magic(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """One, whose derivatives are those of what led to it."""
    return jnp.exp(x - jax.lax.stop_gradient(x))


class Samples(eqx.Module):
    """Episodes of one task, one a row, judged: all that a gradient step needs.

    `weight` is zero after an episode's end, and scaled so that a mean over all steps is one over
    the steps that count. `advantage` is multiplied by it already.
    """

    obs: Float[Array, "*batch time obs"]
    action: Shaped[Array, "..."]
    log_prob: Float[Array, "*batch time"]
    policy: Distribution
    advantage: Float[Array, "*batch time"]
    value_target: Float[Array, "*batch time"]
    weight: Float[Array, "*batch time"]
    paid: Float[Array, "*batch time"]
    """Discounted reward in units of `advantage`, multiplied by the weight too."""


def features(
    obs: Float[Array, "*batch time obs"], time: Float[Array, " time"]
) -> Float[Array, "*batch time features"]:
    """Observation and its square, three powers of time (in episodes), and one."""
    obs = jnp.clip(obs, -10.0, 10.0)
    powers = jnp.stack([time, time**2, time**3, jnp.ones_like(time)], axis=-1)
    powers = jnp.broadcast_to(powers, (*obs.shape[:-1], 4))
    return jnp.concatenate([obs, obs**2, powers], axis=-1)


def fit(
    inputs: Float[Array, "*batch features"],
    target: Float[Array, "*batch"],
    weight: Float[Array, "*batch"],
    ridge: float,
) -> Float[Array, " features"]:
    """Coefficients of the weighted ridge regression of `target` on `inputs`."""
    x = inputs.reshape(-1, inputs.shape[-1])
    weighted = x * weight.reshape(-1, 1) / x.shape[0]
    return jnp.linalg.solve(
        weighted.T @ x + ridge * jnp.eye(x.shape[-1]), weighted.T @ target.reshape(-1)
    )


def judge(
    agent: Agent,
    trajectory: Trajectory,
    gamma: float,
    gae_lambda: float,
    normalise: bool,
    ridge: float,
) -> Samples:
    """Advantages of one task's episodes, centred; only each row's first episode counts.

    `trajectory` has dimensions (episode, time), was made by `agent`, and every row starts an
    episode. `ridge` is how much the baseline is held near nothing. It sees observations as the
    agent does: on its running scale, if it has one.
    """
    done = trajectory.done
    weight = (jnp.cumsum(done, axis=-1) - done == 0).astype(jnp.float32)
    weight = weight / weight.mean()
    time = jnp.arange(done.shape[-1] + 1) / done.shape[-1]
    after_end = jnp.where(trajectory.truncated, agent.critic(trajectory.next_obs), 0.0)
    ends = (trajectory.terminated, trajectory.truncated)

    # Without values and at lambda 1 this is the discounted return, but for what follows truncation.
    nothing = jnp.zeros_like(trajectory.reward)
    returns = gae(trajectory.reward, nothing, after_end, *ends, gamma, 1.0)
    moments = agent.critic.whole_body.moments
    seen = moments.normalise if moments is not None else lambda obs: obs
    inputs = features(seen(trajectory.obs), time[:-1])
    coefficients = fit(inputs, returns, weight, ridge)
    value = inputs @ coefficients
    next_value = features(seen(trajectory.next_obs), time[1:]) @ coefficients
    next_value = jnp.where(trajectory.truncated, after_end, next_value)
    advantage = gae(trajectory.reward, value, next_value, *ends, gamma, gae_lambda)
    advantage = advantage - jnp.mean(weight * advantage)
    paid = trajectory.reward * gamma ** jnp.arange(done.shape[-1])
    if normalise:
        scale = jnp.sqrt(jnp.mean(weight * advantage**2)) + 1e-8
        advantage, paid = advantage / scale, paid / scale
    return Samples(
        obs=trajectory.obs,
        action=trajectory.action,
        log_prob=trajectory.log_prob,
        policy=agent.actor(trajectory.obs)[0],
        advantage=advantage * weight,
        value_target=returns,
        weight=weight,
        paid=paid * weight,
    )


def regression(critic: Critic, samples: Samples) -> Float[Array, ""]:
    """Half the mean squared error of the value function on the returns that were collected."""
    return 0.5 * jnp.mean(samples.weight * (critic(samples.obs) - samples.value_target) ** 2)
