"""Questions for somebody who answers later, and what they said as the loop takes it in."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from metarlhf.feedback import empty
from metarlhf.rlhf.ask import Answers, best_comparison, best_rating, draw_candidates
from metarlhf.rlhf.config import RLHFConfig
from metarlhf.rlhf.state import RLHFState, askable_clips
from metarlhf.types import Feedback, Segment


class Proposal(NamedTuple):
    """Questions, the most telling first.

    `predicted` is what the belief gives to "the second is better", or the mean reward of a rated
    clip's steps. `gain` is what an answer is expected to tell, in nats; -inf where there was no
    further question. `clips` are the numbers of both among all that could be asked about.
    """

    first: Segment
    second: Segment
    predicted: Float[Array, " question"]
    gain: Float[Array, " question"]
    clips: Integer[Array, "question 2"]


def propose(
    key: PRNGKeyArray,
    state: RLHFState,
    asked: Feedback,
    count: int | Integer[Array, ""],
    most: int,
    config: RLHFConfig,
) -> Proposal:
    """The `count` questions most worth asking now, `most` at most; none of `asked` comes again.

    They are for different people, or for one who is quick: nobody knows yet what is said to the
    first when the second is chosen. So few at a time are worth more each. `count` may change from
    call to call without another program.
    """
    candidates = askable_clips(state)
    clips, showable = candidates
    sums = state.belief.clip_sums(clips)
    keys = jax.random.split(key, most)

    def another(number, chosen: Chosen) -> Chosen:
        draw_key, score_key = jax.random.split(keys[number])
        drawn, put = draw_candidates(draw_key, showable, config), chosen.clips
        if config.feedback == "ratings":
            fresh = ~jnp.isin(drawn[0], put)
            best = best_rating(state.belief, clips, sums, drawn[0], asked.ratings, config, fresh)
            predicted = state.belief.weight @ best.logit
        else:
            best = best_comparison(
                score_key, state.belief, clips, sums, drawn, put, asked.comparisons, config
            )
            predicted = state.belief.weight @ jax.nn.sigmoid(best.logit)
        gain = jnp.where(showable.any(), best.score, -jnp.inf)
        return Chosen(
            put.at[number].set(best.clips),
            chosen.predicted.at[number].set(predicted),
            chosen.gain.at[number].set(gain),
        )

    nothing = Chosen(jnp.full((most, 2), -1), jnp.zeros(most), jnp.full(most, -jnp.inf))
    found = jax.lax.fori_loop(0, jnp.minimum(count, most), another, nothing)
    first, second = clips[found.clips[:, 0]], clips[found.clips[:, 1]]
    return Proposal(first, second, found.predicted, found.gain, found.clips)


class Chosen(NamedTuple):
    """Questions so far, as `Proposal` has them, their clips by number; -1 where there is none."""

    clips: Integer[Array, "question 2"]
    predicted: Float[Array, " question"]
    gain: Float[Array, " question"]


class Said(NamedTuple):
    """One answer. `second` is None for a rating, whose `value` is a mark of `levels`; otherwise
    `value` is the preference for the second: 0, 0.5 or 1. `weight` 0: asked, but not answered.
    `annotator` is the number of who said it.
    """

    first: Segment
    second: Segment | None
    value: float
    weight: float = 1.0
    levels: int = 10
    annotator: int = 0


def gather(said: Sequence[Said], like: Segment, comparisons: int, ratings: int) -> Answers:
    """Answers as arrays of fixed size, those that count first, so that programs are found again.

    `like` is one clip; there is room for so many of each kind.

    Raises:
        ValueError: there are more than there is room for.
    """
    said = jax.device_get(list(said))
    kinds = (
        [one for one in said if one.second is not None],
        [one for one in said if one.second is None],
    )
    for kind, room, name in zip(
        kinds, (comparisons, ratings), ("comparisons", "ratings"), strict=True
    ):
        if len(kind) > room:
            raise ValueError(f"{len(kind)} {name} do not fit into room for {room}")
    feedback = jax.tree.map(np.array, _room(like, comparisons, ratings))
    for row, one in enumerate(sorted(kinds[0], key=lambda one: -one.weight)):
        _set(
            feedback.comparisons, row, (one.first, one.second, one.value, one.weight, one.annotator)
        )
    for row, one in enumerate(sorted(kinds[1], key=lambda one: -one.weight)):
        _set(feedback.ratings, row, (one.first, one.value, one.levels, one.weight))
    count = sum(one.weight > 0 for one in said)
    return Answers(jax.tree.map(jnp.asarray, feedback), jnp.full((), count, jnp.int32))


# Op by op, zeros take longer than all that is written into them.
_room = jax.jit(empty, static_argnums=(1, 2))


def _set(store: Any, row: int, item: Any) -> None:
    """In place: these are NumPy's arrays, of this call alone. Fields are in the store's order."""
    for kept, new in zip(jax.tree.leaves(store), jax.tree.leaves(item), strict=True):
        kept[row] = new
