"""Numbers in words: what the page says about what was measured, no more than was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from metarlhf.report.schema import (
    Curve,
    FamilyResult,
    Interval,
    Mark,
    MetaTraining,
    Question,
    Results,
)

# A line must not break before it.
PERCENT = "\N{NO-BREAK SPACE}%"
NOT_MEASURED = "not measured"
LITTLE_TO_COMPARE = "PPO with the true reward hardly learns here: there is little to compare with"
_NUMBERS = dict(
    enumerate(("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
)


def percent(value: float | int) -> str:
    """0.93 as 93 %, with a true minus."""
    return str(round(100 * value)).replace("-", "\N{MINUS SIGN}") + PERCENT


def signed_percent(value: float | int) -> str:
    """0.03 as +3 %."""
    return ("+" if round(100 * value) > 0 else "") + percent(value)


def number(value: float | int | None, digits: int = 3) -> str:
    """Rounded to so many digits that count, thousands apart; None as not measured."""
    if value is None:
        return NOT_MEASURED
    rounded = float(f"{value:.{digits}g}")
    text = f"{rounded:,.0f}" if abs(rounded) >= 1000 or rounded == int(rounded) else f"{rounded:g}"
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")


def interval(value: Interval) -> str:
    """A mean in per cent and the interval around it."""
    low, high = percent(value["low"]).removesuffix(PERCENT), percent(value["high"])
    return f"{percent(value['mean'])} ({low} to {high})"


def plain_interval(value: Interval) -> str:
    """The same in a unit of its own."""
    return f"{number(value['mean'])} ({number(value['low'])} to {number(value['high'])})"


def duration(seconds: float | int | None) -> str:
    """0.034 as 34 ms, 3.1 as 3.1 s, 143 as 2 min 23 s."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 0.9995:
        return f"{number(1000 * seconds, 2)} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ratio(value: float | int | None, at_least: bool = False) -> str:
    """20.0 as 20×; at least that where learning from scratch never got there."""
    if value is None:
        return NOT_MEASURED
    return ("at least " if at_least else "") + f"{number(value, 2)}×"


def answers(family: FamilyResult) -> str:
    """What was asked for each task: "10 comparisons"."""
    kind = family["feedback"]
    return f"{family['labels']} {kind.removesuffix('s') if family['labels'] == 1 else kind}"


def several(values: Sequence[float]) -> str:
    """The numbers that there are among `values`, each once."""
    return " or ".join(map(number, sorted(set(values))))


def in_words(count: int) -> str:
    """Small counts as words."""
    return _NUMBERS.get(count, str(count))


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def headline(results: Results) -> str:
    """The result in one sentence, of which the worst family is always a part."""
    families = results["families"]
    counts = sorted({family["labels"] for family in families})
    means = sorted(family["normalised_return"]["mean"] for family in families)
    who = _span(in_words(counts[0]), in_words(counts[-1])).capitalize()
    who += " answer" if counts[-1] == 1 else " answers"
    if all(family.get("oracle_hardly_learns") for family in families):
        return LITTLE_TO_COMPARE
    if means[-1] <= 0:
        return f"{who} taught nothing: the agents do no better than untrained ones"
    low, high = percent(means[0]), percent(means[-1])
    much = high if low == high else f"{low.removesuffix(PERCENT)} to {high}"
    if all(nothing_adapts(family) for family in families):
        return f"{who} added no more than chance may to what meta-training alone brought: {much}"
    verb = "was enough for" if counts[-1] == 1 else "were enough for"
    return f"{who} {verb if means[0] >= 0.75 else 'reached'} {much} of what the true reward teaches"


def savings(families: Sequence[FamilyResult]) -> str:
    """What learning the same from scratch takes, in one sentence; empty if it was not measured."""
    parts = []
    for resource, key in (("answers", "labels"), ("environment steps", "steps")):
        ratios = [
            (value, family.get(f"scratch_{key}_at_least", False))
            for family in families
            if (value := family.get(f"scratch_{key}_ratio")) is not None
        ]
        if ratios:
            (low, some), (high, _) = min(ratios), max(ratios)
            some = some or any(at_least for _, at_least in ratios)
            span = _span(number(low, 2), number(high, 2))
            parts.append(f"{'at least ' if some else ''}{span} times as many {resource}")
    if not parts:
        return ""
    keys = ("scratch_labels_ratio", "scratch_steps_ratio")
    partly = any(family.get(key) is None for family in families for key in keys)
    where = ", where it was measured" if partly else ""
    return f"Learning the same from scratch took {' and '.join(parts)}{where}.{_compared(families)}"


def hardly_learns(family: Mapping[str, Any]) -> str:
    """That the upper end of the scale is a poor one, where it is so; else empty."""
    more = "Give it more, such as --oracle.total-steps, or other settings."
    if family.get("oracle_hardly_learns"):
        untrained, oracle = family["untrained_return"], family["oracle_return"]
        return (
            "The oracle hardly learns here, so shares of it say little: PPO with the true reward "
            f"gains less than the {number(family['untrained_spread'])} (a standard deviation) by "
            f"which untrained returns differ from task to task (return {number(untrained)} before, "
            f"{number(oracle)} after). {more}"
        )
    if count := family.get("oracle_gains_nothing_in"):
        return (
            f"In {count} of {family['num_tasks']} tasks PPO with the true reward gains nothing: "
            f"shares of that may be anything, and the mean with them. {more}"
        )
    return ""


def nothing_adapts(family: FamilyResult) -> str:
    """That being taught gained no more than chance may, where it is so; else empty."""
    gain = family.get("gain")
    if gain is None or gain["low"] > 0:
        return ""
    low, high = signed_percent(gain["low"]), signed_percent(gain["high"])
    return (
        f"Nothing adapts: that is {signed_percent(gain['mean'])} on what these agents did before "
        f"they were taught ({low} to {high}), and may be chance."
    )


def _compared(families: Sequence[FamilyResult]) -> str:
    """On which tasks, and to reach what, where that is not the figure that stands above."""
    if len(families) != 1 or not families[0].get("scratch_tasks"):
        return ""
    family = families[0]
    count, target = family.get("scratch_tasks"), family.get("scratch_target")
    if count == family["num_tasks"] or target is None:
        return ""
    return (
        f" That was measured on the first {count} of the {family['num_tasks']} tasks, of which "
        f"{percent(target)} was to be reached: what the meta-learned agents reach on these."
    )


def standing(family: FamilyResult, index: int | None) -> str:
    """Where an example stands among all held-out tasks: "the worst of 40, 61 %"."""
    scores = family.get("per_task")
    if index is None or not scores:
        return "a held-out task"
    rank = sorted(range(len(scores)), key=lambda i: scores[i]).index(index)
    middle = {rank == 0: "the worst", rank == len(scores) - 1: "the best"}.get(True)
    if middle is None and rank == len(scores) // 2:
        middle = "the middle one"
    place = (
        f"{middle} of {len(scores)}" if middle else f"number {len(scores) - rank} of {len(scores)}"
    )
    return f"{place}: {percent(scores[index])}"


def curve_text(family: FamilyResult, resource: str) -> str:
    """What the figure by answers or by steps shows, for those who cannot see it."""
    unit = "answers" if resource == "labels" else "environment steps"
    sentences = [f"Normalised return by number of {unit}."]
    for name, curve in curves(family, resource):
        sentences.append(
            f"{name}: {percent(curve['mean'][0])} after {number(curve[resource][0])}, "
            f"{percent(curve['mean'][-1])} after {number(curve[resource][-1])}."
        )
    return " ".join(sentences)


def curves(family: FamilyResult, resource: str) -> list[tuple[str, Curve]]:
    """The curves there are by `resource` ("labels" or "steps"), the prior's first."""
    keys = {
        "labels": ("by_labels", "scratch_by_labels"),
        "steps": ("prior_by_steps", "scratch_by_steps"),
    }[resource]
    named = zip(("Meta-learned", "From scratch"), map(family.get, keys), strict=True)
    return [(name, curve) for name, curve in named if curve]


def training_text(training: MetaTraining) -> str:
    """What the figure of meta-training shows, from its first to its last measurement."""
    sentences = ["Meta-training."]
    for name, key in (("Return", "return"), ("Accuracy on hard pairs", "accuracy_hard")):
        values = [value for value in training.get(key) or () if value is not None]
        if values:
            sentences.append(f"{name}: from {number(values[0])} to {number(values[-1])}.")
    return " ".join(sentences)


def answer(question: Question | Mark) -> str:
    """What a teacher said: left, right, equal, or a mark."""
    if isinstance(question, Mark):
        return f"marked {number(question.value)}"
    return side(float(question.preference))


def side(preference: float) -> str:
    """Which clip was preferred: left, right or equal."""
    return "equal" if preference == 0.5 else "right" if preference > 0.5 else "left"
