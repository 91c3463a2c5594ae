"""The verdict on a learned reward: whether it pays for what the true one does, and how often it is
right. One source for the page, its JSON and the command's last lines.
"""

from typing import NamedTuple

from metarlhf.explain import Calibration, Explanation
from metarlhf.report import wording

SCALE = (
    "0 is the same but for scale, offset and shaping, 0.71 is unrelated, and 1 is the very opposite"
)
# Up to which EPIC distance two rewards are said to do so. Of the correlation rho of what is left of
# them without shaping it is sqrt((1 - rho) / 2): 0.15 is a rho of 0.96, 0.35 of 0.76, 0.55 of 0.4.
AGREEMENT = (
    (0.15, "agree"),
    (0.35, "largely agree"),
    (0.55, "agree only in part"),
    (0.8, "have next to nothing to do with one another"),
    (float("inf"), "part: what is liked by the one is disliked by the other"),
)

# Shares of answers that differ by less are called the same.
PLAIN = 0.05


class Verdict(NamedTuple):
    """In numbers and in words; None for what is not known."""

    agreement: str | None
    """In words: "Learned and true reward ..."."""
    epic: float | None
    """Distance of the learned reward and the true one."""
    epic_before: float | None
    """The same before the first answer."""
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
    to_true = {d.one: d.epic for d in found.distances if d.other == "true"}
    epic, before = to_true.get("after"), to_true.get("before")
    agreement, sentences = None, []
    if _flat(found):
        sentences += ["The true reward is the same in every step: there is nothing to agree on."]
    elif epic is not None and before is not None:
        agreement = next(word for most, word in AGREEMENT if epic <= most)
        sentences += [
            f"Learned and true reward {agreement}.",
            f"Over steps of the agent and random ones their EPIC distance is {epic:.2f} ({SCALE}); "
            f"before the answers it was {before:.2f}.",
        ]
    elif found.calibration is not None:
        sentences += ["What was wanted is known from answers alone."]
    told = _diagram(found.calibration)
    right = believed = None
    if told is not None:
        right, believed = float(told.accuracy), float(told.mean_confidence)
        sentences += [how_often_right(found.calibration)]
    return Verdict(agreement, epic, before, right, believed, tuple(sentences))


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
