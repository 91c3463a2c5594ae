"""An explanation of a learned reward, from what a run has kept of it."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import Shown, TaskFamily
from metarlhf.explain.additive import AdditiveModel, fit_additive, read_additive
from metarlhf.explain.answers import (
    Calibration,
    ExplainedAnswer,
    calibration,
    explain_answers,
    leave_one_out,
)
from metarlhf.explain.attribution import (
    AFTER,
    ATTRIBUTED_STEPS,
    BEFORE,
    TRUE,
    Attribution,
    Completeness,
    Importance,
    attribute_rewards,
    completeness_error,
    integrated_gradients,
    sum_by_feature,
)
from metarlhf.explain.config import ExplainConfig
from metarlhf.explain.dependence import Dependence
from metarlhf.explain.distances import Distance, reward_distances
from metarlhf.explain.maps import Map, reward_map
from metarlhf.explain.rewards import (
    BeliefReward,
    Feature,
    RewardFunction,
    RewardOfInputs,
    StepReward,
    TaskReward,
    features_of,
    horizontal_first,
    inputs_of,
)
from metarlhf.explain.steps import (
    Transitions,
    collect_transitions,
    newest_clip,
    observed_steps,
    subsample,
    subsample_transitions,
)
from metarlhf.networks import Actor
from metarlhf.reward import Belief, Ensemble, Learned, wrong_answers
from metarlhf.types import Task

# Maps are of any two of so many features, the most important ones.
MAPPED_FEATURES = 3


class Episode(NamedTuple):
    """The reward of each step of an episode, and what it is made of."""

    obs: Float[np.ndarray, "time obs"]
    reward: Float[np.ndarray, " time"]
    """In standard deviations over the observed steps, from the mean of the reference steps."""
    parts: Float[np.ndarray, "time feature"]
    """Attributions in the same unit; each row sums to the reward."""


class Explanation(NamedTuple):
    """Of a learned reward. Rewards are named "before" and "after" the answers, and "true"."""

    family: str
    features: tuple[Feature, ...]
    num_steps: int
    """Observed steps that all this is about."""
    importance: dict[str, Importance]
    """Of rewards as functions of independent features: 0 for a dependent one."""
    dependent: list[Dependence]
    completeness: Completeness
    """The largest errors of the attributions."""
    episode: Episode
    maps: list[Map]
    additive: AdditiveModel
    distances: list[Distance]
    answers: list[ExplainedAnswer]
    calibration: Calibration | None
    """None where no comparison was answered."""
    error_rates: dict[str, float]
    """Estimated share of each person's comparisons that is wrong, by name; empty where nobody has
    one, or where the model takes no answer for wrong."""


class NoSuchMapError(ValueError):
    """`ExplainConfig.pairs` names a feature that there is not, or that has no axis."""


def explain(
    key: PRNGKeyArray,
    learned: Learned,
    family: Shown,
    task: Task,
    actor: Actor | None,
    config: ExplainConfig,
    *,
    true: bool = True,
    other: Learned | None = None,
) -> Explanation:
    """Explain a learned reward.

    Args:
        key: all randomness follows from it.
        learned: beliefs, answers and clips, as a run leaves them.
        family: what they are of. On a host simulator no episode is collected: the explanation is
            about clips alone, and has no distances.
        task: where the agent acts.
        actor: the agent's policy; None on a host simulator.
        config: sizes, discount, and what to map.
        true: whether the task's own reward is what was to be learned; a person may want another.
        other: what another run learned about the same family, to be compared.

    Raises:
        NoSuchMapError: see there.
    """
    features = features_of(family)
    pairs = [_named_pair(features, pair) for pair in config.pairs]
    play_key, random_key, permute_key, distance_key, query_key, fit_key = _keys(key)
    compiled = family if isinstance(family, TaskFamily) else None
    if compiled:
        played = collect_transitions(play_key, compiled, task, actor, config.episodes)
        episode = collect_transitions(play_key, compiled, task, actor, 1, deterministic=True)
    else:
        played, episode = None, newest_clip(learned)
    x = observed_steps(learned, family, played)
    rewards: dict[str, StepReward] = {
        BEFORE: BeliefReward(learned.before),
        AFTER: BeliefReward(learned.after),
    }
    if true and compiled:
        rewards[TRUE] = TaskReward(task, compiled)
    of_inputs = {name: RewardOfInputs(reward, family) for name, reward in rewards.items()}
    scales = {name: _scale(reward, x) for name, reward in of_inputs.items()}
    references = subsample(x, config.references)
    importance, dependent, reward, attribution = attribute_rewards(
        permute_key, of_inputs, x, references, features
    )
    explained, along = _episode(episode, family, reward, scales[AFTER][1], references, features)
    errors = [completeness_error(attribution), completeness_error(along)]
    distances = []
    if compiled and played:
        baseline = collect_transitions(random_key, compiled, task, None, config.episodes)
        compared = {name: rewards[name] for name in (AFTER, BEFORE, TRUE) if name in rewards}
        if other is not None:
            compared["other"] = BeliefReward(other.after)
        steps = subsample_transitions(played, baseline)
        distances = reward_distances(distance_key, compared, compiled, task, steps, config.discount)
    left_out, alone = leave_one_out(fit_key, learned)
    return Explanation(
        family=family.name,
        features=features,
        num_steps=len(x),
        importance=importance,
        dependent=dependent,
        completeness=Completeness(*np.max(errors, axis=0).tolist()),
        episode=explained,
        maps=[
            reward_map(np.asarray(x), pair, of_inputs, scales, learned, family)
            for pair in pairs or _most_important(features, importance[AFTER])
        ],
        additive=_additive_model(learned.after, np.asarray(x), of_inputs[AFTER], features),
        distances=distances,
        answers=explain_answers(learned, left_out, alone),
        calibration=calibration(query_key, learned, left_out, true),
        error_rates=wrong_answers(
            learned.after, learned.feedback, learned.annotators or ("the teacher",)
        ),
    )


@jax.jit
def _keys(key: PRNGKeyArray) -> list[PRNGKeyArray]:
    """One program in the place of three."""
    more = jax.random.split(jax.random.fold_in(key, 0x7E57))
    return [*jax.random.split(key, 4), *more]


def _named_pair(features: Sequence[Feature], pair: tuple[str, str]) -> tuple[Feature, Feature]:
    """The two features of these names."""
    known = {feature.name: feature for feature in features if len(feature.columns) == 1}
    if any(name not in known for name in pair) or pair[0] == pair[1]:
        raise NoSuchMapError(
            f"there is no map over {pair[0]!r} and {pair[1]!r}: expected two of "
            f"{', '.join(map(repr, known))}"
        )
    return known[pair[0]], known[pair[1]]


def _most_important(
    features: Sequence[Feature], importance: Importance
) -> list[tuple[Feature, Feature]]:
    """Pairs of the most important features, the most important pair first."""
    share = importance.gradients
    numbers = [i for i in np.argsort(-share, kind="stable") if len(features[i].columns) == 1]
    best = numbers[:MAPPED_FEATURES]
    pairs = [(i, j) for n, i in enumerate(best) for j in best[n + 1 :]]
    pairs.sort(key=lambda pair: -(share[pair[0]] + share[pair[1]]))
    # As the family orders them, but for what is vertical by its name.
    return [horizontal_first((features[min(pair)], features[max(pair)])) for pair in pairs]


def _scale(reward: RewardOfInputs, x: Float[Array, "step inputs"]) -> tuple[float, float]:
    """Mean and standard deviation over the observed steps."""
    value = np.asarray(eqx.filter_jit(reward)(x))
    return float(value.mean()), max(float(value.std()), 1e-12)


def _episode(
    transitions: Transitions,
    family: Shown,
    reward: RewardFunction,
    std: float,
    references: Float[Array, "reference inputs"],
    features: tuple[Feature, ...],
) -> tuple[Episode, Attribution]:
    """The one episode of the transitions, until it was over."""
    length = int((~np.asarray(transitions.ended)[0]).sum())
    obs, action = (np.asarray(x)[0, :length] for x in (transitions.obs, transitions.action))
    x = inputs_of(family, obs, action)
    # Repeated up to the number of steps that are attributed elsewhere: nothing is compiled anew.
    repeated = jnp.asarray(x[np.arange(max(ATTRIBUTED_STEPS, length)) % length])
    attribution = integrated_gradients(reward, repeated, references)
    parts = sum_by_feature(np.asarray(attribution.parts)[:length], features) / std
    return Episode(obs, np.asarray(attribution.total)[:length] / std, parts), attribution


def _additive_model(
    belief: Belief,
    x: Float[np.ndarray, "step inputs"],
    reward: RewardOfInputs,
    features: Sequence[Feature],
) -> AdditiveModel:
    """Read from an additive ensemble, fitted to any other reward."""
    if isinstance(belief, Ensemble) and belief.config.network == "additive":
        return read_additive(belief, x, features)
    return fit_additive(x, np.asarray(eqx.filter_jit(reward)(jnp.asarray(x))), features)
