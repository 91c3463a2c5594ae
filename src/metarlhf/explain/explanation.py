"""All that can be said about a learned reward, from what a run has kept of it."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from metarlhf.envs.base import Shown, TaskFamily
from metarlhf.explain import additive, attribution, landscape
from metarlhf.explain.additive import Additive
from metarlhf.explain.answers import answered, calibration, left_out
from metarlhf.explain.attribution import AFTER, ATTRIBUTED, what_it_pays_for
from metarlhf.explain.config import ExplainConfig
from metarlhf.explain.distances import Transitions, dard_form, distance, epic_form, play
from metarlhf.explain.found import (
    Completeness,
    Distance,
    Episode,
    Explanation,
    Importance,
    Map,
)
from metarlhf.explain.landscape import COMPARED, newest, seen, spaced, spread_out, transitions
from metarlhf.explain.rewards import (
    BeliefReward,
    Feature,
    OfInputs,
    Pays,
    StepReward,
    TaskReward,
    across_first,
    features_of,
    inputs_of,
)
from metarlhf.networks import Actor
from metarlhf.reward import Belief, Ensemble, Learned, wrong_answers
from metarlhf.types import Task

# Maps are of any two of so many features, the most important ones.
MAPPED = 3
BEFORE, TRUE, OTHER = "before", "true", "other"


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
    """Look into what was learned.

    Args:
        key: all randomness follows from it.
        learned: beliefs, answers and clips, as a run leaves them.
        family: what they are of. In a simulator outside the compiled program nobody plays: all is
            about clips that were seen, and there are no distances.
        task: where the agent acts.
        actor: the agent's policy; None in a simulator.
        config: how closely to look.
        true: whether the task's own reward is what was to be learned; a person may want another.
        other: what another run learned about the same family, to be compared.

    Raises:
        NoSuchMapError: see there.
    """
    features = features_of(family)
    pairs = [_named(features, pair) for pair in config.pairs]
    play_key, any_key, permute_key, form_key, fresh_key, fit_key = _keys(key)
    compiled = family if isinstance(family, TaskFamily) else None
    played = play(play_key, compiled, task, actor, config.episodes) if compiled else None
    x = seen(learned, family, played)
    rewards: dict[str, StepReward] = {
        BEFORE: BeliefReward(learned.before),
        AFTER: BeliefReward(learned.after),
    }
    if true and compiled:
        rewards[TRUE] = TaskReward(task, compiled)
    of_inputs = {name: OfInputs(reward, family) for name, reward in rewards.items()}
    usual = {name: _scale(reward, x) for name, reward in of_inputs.items()}
    references = spaced(x, config.references)
    pays_for = what_it_pays_for(permute_key, of_inputs, x, references, features)
    watched = newest(learned)
    if compiled:
        watched = play(play_key, compiled, task, actor, 1, deterministic=True)
    episode, along = _episode(watched, family, pays_for.learned, usual[AFTER], references, features)
    errors = [attribution.completeness_error(a) for a in (pays_for.attributed, along)]
    pairs = pairs or _most_important(features, pays_for.importance[AFTER])
    others, alone = left_out(fit_key, learned)
    return Explanation(
        family=family.name,
        features=features,
        seen=len(x),
        importance=pays_for.importance,
        follows=pays_for.follows,
        completeness=Completeness(*np.max(errors, axis=0).tolist()),
        episode=episode,
        maps=[_map(np.asarray(x), pair, of_inputs, usual, learned, family) for pair in pairs],
        additive=_in_one_line(learned.after, family, x, of_inputs[AFTER], features),
        distances=[] if not compiled or not played else _distances(
            form_key, rewards, other, compiled, task, config.discount,
            transitions(played, play(any_key, compiled, task, None, config.episodes)),
        ),
        answers=answered(learned, others, alone),
        calibration=calibration(fresh_key, learned, others, true),
        wrong=wrong_answers(
            learned.after, learned.feedback, learned.annotators or ("the teacher",)
        ),
    )  # fmt: skip


@jax.jit
def _keys(key: PRNGKeyArray) -> list[PRNGKeyArray]:
    """One program in the place of three."""
    more = jax.random.split(jax.random.fold_in(key, 0x7E57))
    return [*jax.random.split(key, 4), *more]


def _named(features: Sequence[Feature], pair: tuple[str, str]) -> tuple[Feature, Feature]:
    """The two features of these names."""
    known = {feature.name: feature for feature in features if len(feature.columns) == 1}
    odd = [name for name in pair if name not in known]
    if odd or pair[0] == pair[1]:
        raise NoSuchMapError(
            f"there is no map over {pair[0]!r} and {pair[1]!r}: expected two of "
            f"{', '.join(map(repr, known))}"
        )
    return known[pair[0]], known[pair[1]]


def _most_important(
    features: Sequence[Feature], importance: Importance
) -> list[tuple[Feature, Feature]]:
    """Pairs of the features that count most, the most important pair first."""
    count = importance.gradients
    numbers = [i for i in np.argsort(-count, kind="stable") if len(features[i].columns) == 1]
    best = numbers[:MAPPED]
    pairs = [(i, j) for n, i in enumerate(best) for j in best[n + 1 :]]
    pairs.sort(key=lambda pair: -(count[pair[0]] + count[pair[1]]))
    # As the family orders them, but for what is upright by its name.
    return [across_first((features[min(pair)], features[max(pair)])) for pair in pairs]


def _scale(reward: OfInputs, x: Float[Array, "step inputs"]) -> tuple[float, float]:
    """Mean and standard deviation of what was seen."""
    paid = np.asarray(eqx.filter_jit(reward)(x))
    return float(paid.mean()), max(float(paid.std()), 1e-12)


def _episode(
    watched: Transitions,
    family: Shown,
    reward: Pays,
    usual: tuple[float, float],
    references: Float[Array, "reference inputs"],
    features: tuple[Feature, ...],
) -> tuple[Episode, attribution.Attribution]:
    """The one episode of `watched`, until it was over."""
    length = int((~np.asarray(watched.ended)[0]).sum())
    obs, action = (np.asarray(x)[0, :length] for x in (watched.obs, watched.action))
    x = inputs_of(family, obs, action)
    # Over and over until there are as many as elsewhere: the compiled program is found again.
    again = jnp.asarray(x[np.arange(max(ATTRIBUTED, length)) % length])
    found = attribution.integrated_gradients(reward, again, references)
    parts = attribution.by_feature(np.asarray(found.parts)[:length], features) / usual[1]
    return Episode(obs, np.asarray(found.explained)[:length] / usual[1], parts), found


def _map(
    x: Float[np.ndarray, "step inputs"],
    pair: tuple[Feature, Feature],
    rewards: dict[str, OfInputs],
    usual: dict[str, tuple[float, float]],
    learned: Learned,
    family: Shown,
) -> Map:
    found = landscape.places(x, pair)
    rows = jnp.asarray(found.rows)
    drawn = {
        name: found.average((np.asarray(eqx.filter_jit(reward)(rows)) - mean) / std)
        for (name, reward), (mean, std) in zip(rewards.items(), usual.values(), strict=True)
    }
    reference = jnp.asarray(x[spread_out(len(x), COMPARED)])
    spread = {
        name: found.average(np.asarray(landscape.spread(belief, family, rows, reference)))
        for name, belief in ((BEFORE, learned.before), (AFTER, learned.after))
    }
    forbidden = None
    if learned.cost is not None:
        cost = OfInputs(BeliefReward(learned.cost), family)
        forbidden = found.average(np.asarray(eqx.filter_jit(cost)(rows)))
    ends = np.reshape(found.extent, (2, 2))
    across, up = (pair[i].shown(ends[i]).tolist() for i in (0, 1))
    return Map(pair, (*across, *up), drawn, spread, found.density, forbidden)


def _in_one_line(
    belief: Belief,
    family: Shown,
    x: Float[Array, "step inputs"],
    reward: OfInputs,
    features: Sequence[Feature],
) -> Additive:
    """Its own curves where it is made of some, and otherwise those that tell most of it."""
    if isinstance(belief, Ensemble) and belief.config.network == "additive":
        return additive.read_additive(belief, family, np.asarray(x), features)
    paid = np.asarray(eqx.filter_jit(reward)(x))
    return additive.fit_additive(np.asarray(x), paid, features)


def _distances(
    key: PRNGKeyArray,
    rewards: dict[str, StepReward],
    other: Learned | None,
    family: TaskFamily,
    task: Task,
    discount: float,
    steps: Transitions,
) -> list[Distance]:
    """Every two of the rewards; of another run's only what concerns it after its answers."""
    if other is not None:
        rewards = rewards | {OTHER: BeliefReward(other.after)}
    forms: dict[str, tuple[Any, Any]] = {
        name: (
            np.asarray(epic_form(key, reward, family, steps, discount)),
            np.asarray(dard_form(key, reward, family, task, steps, discount)),
        )
        for name, reward in rewards.items()
    }
    names = [name for name in (AFTER, BEFORE, TRUE, OTHER) if name in forms]
    return [
        Distance(one, two, *map(distance, forms[one], forms[two]))
        for n, one in enumerate(names)
        for two in names[n + 1 :]
    ]
