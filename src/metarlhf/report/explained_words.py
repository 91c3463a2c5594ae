"""What the page about a learned reward says in words.

The verdict on a learned reward: whether it pays for what the true one does, and how often it is
right. One source for the page, its JSON and the command's last lines.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from metarlhf.explain import Answered, Calibration, Explanation
from metarlhf.explain.found import Distance
from metarlhf.report import wording

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


SCALE = (
    "0 is the same but for scale, offset and shaping, 0.71 is unrelated, and 1 is the very opposite"
)
# Up to which distance two rewards are said to do so. Of the correlation rho of what is left of
# them without shaping it is sqrt((1 - rho) / 2): 0.15 is a rho of 0.96, 0.35 of 0.76, 0.55 of 0.4.
AGREEMENT = (
    (0.15, "agree"),
    (0.35, "largely agree"),
    (0.55, "agree only in part"),
    (0.8, "have next to nothing to do with one another"),
    (float("inf"), "part: what is liked by the one is disliked by the other"),
)
# Beyond this neither says that two rewards have to do with one another.
UNRELATED = AGREEMENT[2][0]
# Shares of what is paid, by integrated gradients.
MUCH, NOTHING = 0.2, 0.02
# The two distances say the same when they are no further apart.
APART = 0.1

# Shares of answers that differ by less are called the same, and distances too.
PLAIN = 0.05
# A model that foresees so many answers is of use, however far its reward is from the true one ...
FORESEEN = 0.75
# ... as it may be beyond this distance.
UNALIKE = 0.35
# A model that foresees fewer is no better than chance.
NO_COIN = 0.55
COIN = "A coin would be right in half of them."
WRONG_NEVERTHELESS = (
    "That the two rewards agree better than that over all steps is no contradiction: questions are "
    "about clips of its last rounds, which are much alike, so that what they differ by decides."
)
RIGHT_NEVERTHELESS = (
    "That it foresees answers and is far from the true reward is no contradiction: an answer "
    "compares two whole clips, a distance every single step, also such as no clip showed."
)


class Verdict(NamedTuple):
    """In numbers and in words; None for what is not known."""

    agreement: str | None
    """In words: "Learned and true reward ..."."""
    epic: float | None
    """Distance of the learned reward and the true one."""
    epic_before: float | None
    """The same before the first answer."""
    dard: float | None
    """Distance of the two by steps that can follow from one another."""
    dard_before: float | None
    right: float | None
    """Share of held-out answers that the model foresees."""
    believed: float | None
    """Share that it believes it foresees."""
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def verdict(found: Explanation) -> Verdict:
    """What it comes to, as far as there is something to judge it by."""
    to_true = {d.one: d for d in found.distances if d.other == "true"}
    after, before = to_true.get("after"), to_true.get("before")
    agreement, sentences = None, []
    if _flat(found):
        sentences += ["The true reward is the same in every step: there is nothing to agree on."]
    elif after is not None and before is not None:
        agreement = _agreement(after)
        sentences += [
            f"Learned and true reward {agreement}.",
            f"Over steps of the agent and random ones their EPIC distance is {after.epic:.2f}, "
            f"their DARD distance {after.dard:.2f} ({SCALE}); before the answers they were "
            f"{before.epic:.2f} and {before.dard:.2f}.{_why_they_differ(after)}",
            *_further_than_before(before, after),
            *_paid_in_vain(found),
        ]
    elif found.calibration is not None:
        sentences += ["What was wanted is known from answers alone."]
    told = _diagram(found.calibration)
    right = believed = None
    if told is not None:
        right, believed = float(told.accuracy), float(told.mean_confidence)
        sentences += [how_often_right(found.calibration)]
        if agreement is not None and after and after.epic > UNALIKE and right >= FORESEEN:
            sentences += [RIGHT_NEVERTHELESS]
        if right < NO_COIN:
            sentences += [
                COIN
                if agreement is None or after is None or after.epic > UNALIKE
                else f"{COIN} {WRONG_NEVERTHELESS}"
            ]
    return Verdict(
        agreement,
        *((after.epic, before.epic) if after and before else (None, None)),
        *((after.dard, before.dard) if after and before else (None, None)),
        right,
        believed,
        tuple(sentences),
    )


def _agreement(found: Distance) -> str:
    """By both distances: where they are near, the further one counts."""
    by = lambda value: next(word for most, word in AGREEMENT if value <= most)
    epic, dard = by(found.epic), by(found.dard)
    if abs(found.epic - found.dard) <= APART or epic == dard:
        return by(max(found.epic, found.dard))
    return f"over all steps (EPIC) {epic}; among those open at one moment (DARD) they {dard}"


def _further_than_before(before: Distance, after: Distance) -> list[str]:
    """That the answers led away from the true reward, where they did."""
    names = {"EPIC": after.epic - before.epic, "DARD": after.dard - before.dard}
    worse = [name for name, more in names.items() if more > PLAIN]
    if not worse:
        return []
    return [
        f"By {' and '.join(worse)} the answers led it away from the true reward, not towards it."
    ]


def _why_they_differ(found: Distance) -> str:
    """What it means that one of the distances is much the larger."""
    if abs(found.epic - found.dard) <= APART:
        return ""
    why = (
        " They differ: EPIC compares steps from all over, DARD only such as one action more or "
        "less can change."
    )
    if min(found.epic, found.dard) > UNRELATED:
        return why
    if found.dard > found.epic:
        return (
            f"{why} So the model tells good situations from bad ones better than a good action "
            "from a bad one where it stands."
        )
    return (
        f"{why} So the model tells a good action from a bad one where it stands better than good "
        "situations from bad ones, and may lead an agent to the wrong place."
    )


def _paid_in_vain(found: Explanation) -> list[str]:
    """Features that much is paid for, and by the true reward nothing."""
    true, after = found.importance.get("true"), found.importance.get("after")
    if true is None or after is None or not true.gradients.any():
        return []
    vain = [
        f"{feature.name} ({wording.percent(float(paid))})"
        for feature, paid, wanted in zip(
            found.features, after.gradients, true.gradients, strict=True
        )
        if paid > MUCH and wanted < NOTHING
    ]
    if not vain:
        return []
    return [f"It pays for {' and '.join(vain)}, for which the true reward pays next to nothing."]


def _flat(found: Explanation) -> bool:
    """Whether nothing of a step makes a difference to the true reward."""
    true = found.importance.get("true")
    unrelated = all(abs(d.epic - 0.5**0.5) < 0.01 for d in found.distances if d.other == "true")
    return true is not None and not true.gradients.any() and unrelated


def how_often_right(found: Calibration | None) -> str:
    """How often the model is right, and how often it believes to be."""
    told = _diagram(found)
    if found is None or told is None:
        return ""
    right, believed = (wording.percent(float(x)) for x in (told.accuracy, told.mean_confidence))
    count = wording.number(found.questions)
    held_out = (
        f"{count} questions that nobody was asked, answered by the true reward"
        if found.of == "fresh questions"
        else f"the {count} answers, each of which was foretold by a fit to others, without it"
    )
    # So far both may differ by chance: two standard errors.
    chance = max(PLAIN, found.questions**-0.5)
    beyond = float(told.mean_confidence - told.accuracy)
    so = ": it is too sure of itself" if beyond > chance else ""
    so = ": it might be surer of itself" if beyond < -chance else so
    return f"The model is right in {right} of {held_out}; it believed it was in {believed}{so}."


def _diagram(found: Calibration | None):
    return None if found is None else found.diagrams["after"]
