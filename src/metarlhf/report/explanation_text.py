"""Sentences about a learned reward: its verdict, and the notes of its page.

The verdict says whether it agrees with the true reward, and how often it predicts answers. It is
one source for the page, its JSON and the command's last lines.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from metarlhf.explain import Calibration, Distance, ExplainedAnswer, Explanation
from metarlhf.report import wording

Answerer = Literal["people", "true", "erring"]
"""People; a simulated teacher that always follows the true reward; or one that was set to err."""

# Up to which distance two rewards are said to do so. Of the correlation rho of what is left of
# them without shaping it is sqrt((1 - rho) / 2): 0.15 is a rho of 0.96, 0.35 of 0.76, 0.55 of 0.4.
AGREEMENT = (
    (0.15, "agree"),
    (0.35, "largely agree"),
    (0.55, "agree only in part"),
    (0.8, "have next to nothing to do with one another"),
    (float("inf"), "part: what is liked by the one is disliked by the other"),
)
# Beyond these distances rewards are called different, and unrelated.
DIFFERENT, UNRELATED = AGREEMENT[1][0], AGREEMENT[2][0]
# EPIC and DARD say the same when they are no further apart.
APART = 0.1
# Importance of features that much of the reward depends on, and next to nothing of it.
MUCH, NOTHING = 0.2, 0.02
# Accuracies, and distances before and after, that differ by less are called the same.
SAME = 0.05
# Accuracies from which a model is of use, and below which it is no better than chance.
USEFUL, CHANCE = 0.75, 0.55
# Fewer answers are no more than a hint of calibration; more are counted, not listed, in a sentence.
FEW, LISTED = 50, 8

SCALE = (
    "0 is the same but for scale, offset and shaping, 0.71 is unrelated, and 1 is the very opposite"
)
COIN = "A coin would be right in half of them."
WRONG_NEVERTHELESS = (
    "That the two rewards agree better than that over all steps is no contradiction: questions are "
    "about clips of its last rounds, which are much alike, so that what they differ by decides."
)
RIGHT_NEVERTHELESS = (
    "That it foresees answers and is far from the true reward is no contradiction: an answer "
    "compares two whole clips, a distance every single step, also such as no clip showed."
)
CAUSES = {
    "people": "a slip, perhaps, a change of mind, or something that the model has not understood",
    "erring": (
        "the simulated teacher was set to err here, so it may be one of its errors, or something "
        "that the model has not understood"
    ),
    "true": (
        "the simulated teacher never erred here, so the others say too little of this, and it is "
        "not the answer that is wrong"
    ),
}


class Verdict(NamedTuple):
    """In numbers and in words; None for what is not known."""

    agreement: str | None
    """In words: "Learned and true reward ..."."""
    epic: float | None
    """Distance of the learned reward and the true one, after the answers and before."""
    epic_before: float | None
    dard: float | None
    dard_before: float | None
    right: float | None
    """Share of held-out answers that the model predicts."""
    believed: float | None
    """Its mean confidence in them."""
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def verdict(explanation: Explanation) -> Verdict:
    """How far the learned reward can be trusted, where there is something to judge it by."""
    to_true = {d.one: d for d in explanation.distances if d.other == "true"}
    after, before = to_true.get("after"), to_true.get("before")
    agreement, sentences = None, []
    if _constant(explanation):
        sentences += ["The true reward is the same in every step: there is nothing to agree on."]
    elif after is not None and before is not None:
        agreement = _agreement(after)
        sentences += [
            f"Learned and true reward {agreement}.",
            f"Over steps of the agent and random ones their EPIC distance is {after.epic:.2f}, "
            f"their DARD distance {after.dard:.2f} ({SCALE}); before the answers they were "
            f"{before.epic:.2f} and {before.dard:.2f}.{_difference_note(after)}",
            *_regression(before, after),
            *_unrewarded(explanation),
        ]
    elif explanation.calibration is not None:
        sentences += ["What was wanted is known from answers alone."]
    right = believed = None
    if explanation.calibration is not None:
        diagram = explanation.calibration.diagrams["after"]
        right, believed = float(diagram.accuracy), float(diagram.mean_confidence)
        different = None if agreement is None or after is None else after.epic > DIFFERENT
        sentences += [accuracy(explanation.calibration)]
        if different and right >= USEFUL:
            sentences += [RIGHT_NEVERTHELESS]
        if right < CHANCE:
            sentences += [f"{COIN} {WRONG_NEVERTHELESS}" if different is False else COIN]
    epic, dard = (
        ((getattr(after, kind), getattr(before, kind)) if after and before else (None, None))
        for kind in ("epic", "dard")
    )
    return Verdict(agreement, *epic, *dard, right, believed, tuple(sentences))


def _agreement(distance: Distance) -> str:
    """By both distances: where they are near, the further one counts."""
    word = lambda value: next(word for most, word in AGREEMENT if value <= most)
    epic, dard = word(distance.epic), word(distance.dard)
    if abs(distance.epic - distance.dard) <= APART or epic == dard:
        return word(max(distance.epic, distance.dard))
    return f"over all steps (EPIC) {epic}; among those open at one moment (DARD) they {dard}"


def _regression(before: Distance, after: Distance) -> list[str]:
    """That the answers led away from the true reward, where they did."""
    change = {"EPIC": after.epic - before.epic, "DARD": after.dard - before.dard}
    worse = [name for name, more in change.items() if more > SAME]
    if not worse:
        return []
    return [
        f"By {' and '.join(worse)} the answers led it away from the true reward, not towards it."
    ]


def _difference_note(distance: Distance) -> str:
    """What it means that one of the distances is much the larger."""
    if abs(distance.epic - distance.dard) <= APART:
        return ""
    why = (
        " They differ: EPIC compares steps from all over, DARD only such as one action more or "
        "less can change."
    )
    if min(distance.epic, distance.dard) > UNRELATED:
        return why
    if distance.dard > distance.epic:
        return (
            f"{why} So the model tells good situations from bad ones better than a good action "
            "from a bad one where it stands."
        )
    return (
        f"{why} So the model tells a good action from a bad one where it stands better than good "
        "situations from bad ones, and may lead an agent to the wrong place."
    )


def _unrewarded(explanation: Explanation) -> list[str]:
    """Features that much of the learned reward depends on, and nothing of the true one."""
    true, after = explanation.importance.get("true"), explanation.importance.get("after")
    if true is None or after is None or not true.gradients.any():
        return []
    unrewarded = [
        f"{feature.name} ({wording.percent(float(learned))})"
        for feature, learned, wanted in zip(
            explanation.features, after.gradients, true.gradients, strict=True
        )
        if learned > MUCH and wanted < NOTHING
    ]
    if not unrewarded:
        return []
    return [
        f"It pays for {' and '.join(unrewarded)}, for which the true reward pays next to nothing."
    ]


def _constant(explanation: Explanation) -> bool:
    """Whether the true reward depends on nothing."""
    true = explanation.importance.get("true")
    to_true = [d.epic for d in explanation.distances if d.other == "true"]
    unrelated = all(abs(epic - 0.5**0.5) < 0.01 for epic in to_true)
    return true is not None and not true.gradients.any() and unrelated


def accuracy(calibration: Calibration) -> str:
    """How often the model is right, and how often it believes to be."""
    diagram = calibration.diagrams["after"]
    right, believed = float(diagram.accuracy), float(diagram.mean_confidence)
    count = wording.number(calibration.questions)
    questions = (
        f"{count} questions that nobody was asked, answered by the true reward"
        if calibration.of == "fresh questions"
        else f"the {count} answers, each of which was foretold by a fit to others, without it"
    )
    # So far both may differ by chance: two standard errors.
    chance = max(SAME, calibration.questions**-0.5)
    beyond = float(diagram.mean_confidence - diagram.accuracy)
    note = ": it is too sure of itself" if beyond > chance else ""
    note = ": it might be surer of itself" if beyond < -chance else note
    return (
        f"The model is right in {wording.percent(right)} of {questions}; it believed it was in "
        f"{wording.percent(believed)}{note}."
    )


def calibration(found: Calibration | None) -> str:
    """`accuracy` and the expected calibration error, and on what it was measured."""
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
        f"{accuracy(found)}{guesses} Among answers that it is as sure of, how sure it is "
        f"and how often it is right differ by {error['after']} on average (the expected "
        f"calibration error{more})."
    )


def headline(explanation: Explanation) -> str:
    """The features that make up most of the reward, in one sentence."""
    share = explanation.importance["after"].gradients
    if not share.any():
        return "This reward pays every step alike"
    order = np.argsort(-share, kind="stable")
    count = int(np.searchsorted(np.cumsum(share[order]), 0.85)) + 1
    parts = [
        f"{explanation.features[i].name} ({wording.percent(float(share[i]))})"
        for i in order[: min(count, 3)]
    ]
    return f"This reward is about {_and(parts)}"


def permutation_note(explanation: Explanation) -> str:
    """That permutation importance ranks another feature first, where it does."""
    importance, features = explanation.importance["after"], explanation.features
    first, permuted = (int(np.argmax(one)) for one in importance)
    if first == permuted:
        return ""
    return (
        f"By what goes wrong without it {features[permuted].name} counts most, and not "
        f"{features[first].name}: a feature may be paid much on average and yet decide "
        "little of what differs from step to step."
    )


def dependence_note(explanation: Explanation) -> str:
    """Which features have no attribution of their own, and why."""
    if not explanation.dependent:
        return (
            "Where features say the same in two ways, a reward may be shared between them in any "
            "way."
        )
    verb, told = " follows from ", []
    for one in explanation.dependent:
        told.append(f"{one.feature.name}{verb}{_and([f.name for f in one.sources])}")
        verb = " from "
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


def answer(one: ExplainedAnswer) -> str:
    """The answer in words."""
    if one.levels:
        return f"{wording.number(one.answer)} of {one.levels}"
    return wording.side(one.answer)


def prediction(one: ExplainedAnswer, value: float) -> str:
    """A prediction in words: a rating, or the probability of the clip that was chosen."""
    if one.levels:
        return f"{value:.1f}"
    if one.answer == 0.5:
        return f"right: {wording.percent(value)}"
    return wording.percent(value if one.answer > 0.5 else 1 - value)


def predictions(answers: Sequence[ExplainedAnswer]) -> str:
    """How right predictions were, before the answers and after."""
    before = float(np.mean([1 - one.error_before for one in answers])) if answers else 0.0
    after = before + (float(np.mean([one.improvement for one in answers])) if answers else 0.0)
    return (
        f"Before the first answer the model's expectations were {wording.percent(before)} right on "
        f"average; after the last one, fitted to these very answers, {wording.percent(after)}."
    )


def misfits(
    answers: Sequence[ExplainedAnswer],
    answerer: Answerer,
    error_rates: Mapping[str, float] | None = None,
) -> str:
    """Which answers do not fit the others and why; the error rate of one who answered alone."""
    sentences = []
    numbers = [str(one.number) for one in answers if one.misfit]
    if numbers:
        which = f"Answer{'s' if len(numbers) > 1 else ''} {_and(numbers)}"
        if len(numbers) > LISTED:
            which = f"{len(numbers)} of {len(answers)} answers"
        verb = "does" if len(numbers) == 1 else "do"
        why = CAUSES[answerer]
        sentences += [f"{which} {verb} not fit what the model takes from the others: {why}."]
    elif any(one.left_out is not None for one in answers):
        sentences += ["Every answer fits the others."]
    if error_rates and len(error_rates) == 1:
        (share,) = error_rates.values()
        sentences += [f"The model takes {wording.percent(share)} of all answers for wrong."]
    return " ".join(sentences)


class Annotator(NamedTuple):
    """A row of the table of people."""

    name: str
    answers: int
    error_rate: str
    misfits: int


def annotators(
    answers: Sequence[ExplainedAnswer], error_rates: Mapping[str, float]
) -> list[Annotator]:
    """Everybody who compared something, if they are several."""
    rows = []
    for name in sorted({one.annotator for one in answers if one.annotator is not None}):
        own = [one for one in answers if one.annotator == name]
        share = wording.percent(error_rates[name]) if name in error_rates else "-"
        rows.append(Annotator(name, len(own), share, sum(one.misfit for one in own)))
    return rows if len(rows) > 1 else []
