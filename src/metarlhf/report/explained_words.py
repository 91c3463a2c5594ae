"""What the page about a learned reward says in words."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from metarlhf.explain import Answered, Calibration, Explanation
from metarlhf.report import wording
from metarlhf.report.explained_verdict import how_often_right

# Who answered: people; a simulated teacher that goes by the true reward, always; or one set to err.
Answerer = Literal["people", "true", "erring"]


def headline(found: Explanation) -> str:
    """What the reward pays for, in one sentence: features that make up most of it."""
    share = found.importance["after"].gradients
    if not share.any():
        return "This reward pays every step alike"
    order = np.argsort(-share, kind="stable")
    count = int(np.searchsorted(np.cumsum(share[order]), 0.85)) + 1
    parts = [
        f"{found.features[i].name} ({wording.percent(float(share[i]))})" for i in order[:count][:3]
    ]
    return f"This reward is about {_and(parts)}"


def otherwise(found: Explanation) -> str:
    """That the two ways to count rank another feature first, where they do."""
    by = found.importance["after"]
    first, shuffled = (int(np.argmax(each)) for each in (by.gradients, by.permutation))
    if first == shuffled:
        return ""
    return (
        f"By what goes wrong without it {found.features[shuffled].name} counts most, and not "
        f"{found.features[first].name}: a feature may be paid much on average and yet decide "
        "little of what differs from step to step."
    )


def following(found: Explanation) -> str:
    """Which features have no part of their own, and why."""
    if not found.follows:
        return (
            "Where features say the same in two ways, a reward may be shared between them in any "
            "way."
        )
    (first, *more) = [(one.feature.name, _and([f.name for f in one.of])) for one in found.follows]
    told = [f"{first[0]} follows from {first[1]}", *(f"{name} from {of}" for name, of in more)]
    return (
        f"In all that was seen, {', and '.join(told)}: what the model pays for such a feature is "
        "counted as paid for what it follows from."
    )


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def small_share(value: float) -> str:
    """A small share in per cent."""
    if value < 1e-5:
        return f"less than 0.001{wording.PERCENT}"
    return f"{100 * value:.2g}{wording.PERCENT}"


def said(one: Answered) -> str:
    """The answer in words."""
    if one.levels:
        return f"{wording.number(one.said)} of {one.levels}"
    return "equal" if one.said == 0.5 else "right" if one.said > 0.5 else "left"


def expected(one: Answered, value: float) -> str:
    """What was expected, in words: a mark, or how likely the clip that was chosen."""
    if one.levels:
        return f"{value:.1f}"
    if one.said == 0.5:
        return f"right: {wording.percent(value)}"
    return wording.percent(value if one.said > 0.5 else 1 - value)


def foreseen(answers: Sequence[Answered]) -> str:
    """How much of what was said was expected."""
    before = float(np.mean([1 - one.surprise for one in answers])) if answers else 0.0
    after = before + (float(np.mean([one.moved for one in answers])) if answers else 0.0)
    return (
        f"Before the first answer the model's expectations were {wording.percent(before)} right on "
        f"average; after the last one, fitted to these very answers, {wording.percent(after)}."
    )


def calibrated(found: Calibration | None) -> str:
    """How far predictions come true as often as they say, and on what that was found."""
    if found is None:
        return ""
    error = {name: small_share(float(one.expected_error)) for name, one in found.diagrams.items()}
    guesses, more = "", ""
    if found.of == "fresh questions":
        more = f"; before the answers it was {error['before']}"
    else:
        guesses = " Guesses that people are believed to make are counted in."
        if found.questions < FEW:
            more = "; so few answers say little of it"
    return (
        f"{how_often_right(found)}{guesses} Among answers that it is as sure of, how sure it is "
        f"and how often it is right differ by {error['after']} on average (the expected "
        f"calibration error{more})."
    )


FEW = 50
"""Answers of which no more than a hint of calibration can be told."""


def misfits(answers: Sequence[Answered], by: Answerer) -> str:
    """Which answers do not fit the others, and who is to be doubted by whose answers they are."""
    if all(one.others is None for one in answers):
        return ""
    numbers = [str(one.number) for one in answers if one.misfit]
    if not numbers:
        return "Every answer fits the others."
    if len(numbers) > MOST:
        which = f"{len(numbers)} of {len(answers)} answers do"
    else:
        which = f"Answer{'s' if len(numbers) > 1 else ''} {_and(numbers)} do"
        which += "es" if len(numbers) == 1 else ""
    return f"{which} not fit what the model takes from the others: {doubted(by)}."


def taken_for_wrong(wrong: dict[str, float]) -> str:
    """How many answers the model takes for wrong, if they are of one who answered."""
    if len(wrong) != 1:
        return ""
    (share,) = wrong.values()
    return f"The model takes {wording.percent(share)} of all answers for wrong."


def doubted(by: Answerer) -> str:
    """What may be wrong where an answer does not fit the others."""
    match by:
        case "people":
            return (
                "a slip, perhaps, a change of mind, or something that the model has not understood"
            )
        case "erring":
            return (
                "the simulated teacher was set to err here, so it may be one of its errors, or "
                "something that the model has not understood"
            )
    return (
        "the simulated teacher never erred here, so the others say too little of this, and it is "
        "not the answer that is wrong"
    )


MOST = 8
"""Numbers of answers in a sentence."""


class Person(NamedTuple):
    """Somebody who answered, in words."""

    name: str
    answers: int
    wrong: str
    misfits: str


def people(answers: Sequence[Answered], wrong: dict[str, float]) -> list[Person]:
    """Everybody who compared something, if they are several."""
    names = sorted({one.by for one in answers if one.by is not None})
    if len(names) < 2:
        return []
    told = []
    for name in names:
        theirs = [one for one in answers if one.by == name]
        against = sum(one.misfit for one in theirs)
        share = wording.percent(wrong[name]) if name in wrong else "-"
        told.append(Person(name, len(theirs), share, str(against)))
    return told
