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
    (1.0, "part: what is liked by the one is disliked by the other"),
)


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
    to_true = {d.one if d.other == "true" else d.other: d for d in found.distances
               if "true" in (d.one, d.other)}  # fmt: skip
    epic, before = (to_true[n].epic if n in to_true else None for n in ("after", "before"))
    agreement, sentences = None, []
    if epic is not None and before is not None:
        agreement = next(word for most, word in AGREEMENT if epic <= most)
        sentences += [
            f"Learned and true reward {agreement}.",
            f"Over steps of the agent and random ones their EPIC distance is {epic:.2f} ({SCALE}); "
            f"before the answers it was {before:.2f}.",
        ]
    told = _diagram(found.calibration)
    right, believed = (None, None) if told is None else (told.accuracy, told.mean_confidence)
    sentences += [how_often_right(found.calibration)] if found.calibration else []
    as_float = lambda x: None if x is None else float(x)
    return Verdict(
        agreement, epic, before, as_float(right), as_float(believed), tuple(sentences)
    )  # fmt: skip


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
    return f"The model is right in {right} of {held_out}; it believed it was in {believed}."


def _diagram(found: Calibration | None):
    return None if found is None else found.diagrams["after"]
