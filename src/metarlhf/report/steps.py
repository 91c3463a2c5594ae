"""The page about a prior that learns from what tasks pay: what each gradient step gains."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from metarlhf import statistics
from metarlhf.files import write_text
from metarlhf.report import figures, style, wording
from metarlhf.report.figures import draw_returns
from metarlhf.report.html import CURVE, ONE, PAIR, TWO, Drawing, drawing, legend
from metarlhf.report.schema import Example, FamilyPictures, Interval, StepsResult
from metarlhf.report.style import Axes
from metarlhf.statistics import mean_interval

START_NAMES = {"random": "a random start", "pretrained": "a pretrained start"}
"""Other starts of the same steps, by their names in results."""


def write_steps(path: Path, found: StepsResult, pictures: FamilyPictures) -> Path:
    """Write the page to `path`; a failure leaves what was there before.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, render(found, pictures))
    return path


def render(found: StepsResult, pictures: FamilyPictures) -> str:
    """The page as a string; the same results give the same page, byte for byte."""
    return style.render(
        "steps.html.j2",
        w=wording,
        found=found,
        headline=headline(found),
        notes=notes(found),
        steps=_steps(len(found["gains"])),
        curve=_curve(found),
        starts={key: START_NAMES[key].removeprefix("a ") for key in found["starts"]},
        tasks=_tasks(found, pictures),
        examples=[_example(found, pictures, one, i) for i, one in enumerate(pictures.examples)],
        signs=legend(pictures.family),
    )


def nothing_adapts(found: Any) -> bool:
    """Whether no number of steps gains more than chance may."""
    return all(gain["low"] <= 0 for gain in found["gains"])


def headline(found: StepsResult) -> str:
    """The result in one sentence."""
    if found["gains"][-1]["high"] < 0:
        lost = wording.number(-found["gains"][-1]["mean"])
        return f"{_steps(len(found['gains'])).capitalize()} do harm: they lose {lost} of the return"
    if nothing_adapts(found):
        return "Nothing adapts: no number of gradient steps gains more than chance may"
    if found["oracle_hardly_learns"]:
        return wording.LITTLE_TO_COMPARE
    taken, last = len(found["gains"]), found["shares"][-1]
    reach = "reaches" if taken == 1 else "reach"
    return (
        f"{_steps(taken).capitalize()} on a task's own reward {reach} "
        f"{wording.percent(last['mean'])} of what PPO does in "
        f"{wording.number(found['oracle_steps'], 12)} steps"
    )


def notes(found: StepsResult) -> list[str]:
    """What has to be known beside it, where there is something."""
    told = [wording.hardly_learns(found)]
    shares, gains = found["shares"], found["gains"]
    best = max(range(len(shares)), key=lambda step: shares[step]["mean"])
    if shares[best]["low"] > shares[-1]["mean"]:
        told += [
            f"It was more {'after ' + _steps(best) if best else 'before the first'}, "
            f"{wording.interval(shares[best])}: what comes after that does harm."
        ]
    if not nothing_adapts(found) and gains[-1]["low"] <= 0 <= gains[-1]["high"]:
        told += ["After all steps it is no more than before the first, but for chance."]
    return [note for note in (*told, *behind(found)) if note]


def behind(found: Any) -> list[str]:
    """Which other starts come as far as what was meta-learned, or further."""
    told = []
    for name, start in found["starts"].items():
        lead = start["behind"][-1]
        if lead["low"] > 0:
            continue
        reached = (
            wording.percent(start["shares"][-1]["mean"])
            if "shares" in start
            else wording.number(start["returns"][-1]["mean"])
        )
        comes = f"{START_NAMES[name].capitalize()} reaches {reached} by as many steps"
        if lead["high"] < 0:
            more = wording.number(-lead["mean"])
            told.append(f"{comes}, a return {more} higher: meta-training gains nothing on that.")
        else:
            told.append(f"{comes}: meta-training gains no more than chance may on that.")
    return told


def curves(found: Any) -> dict[str, Sequence[Interval]]:
    """Returns after each step from everywhere, by what it is called in a picture."""
    named = {"meta-learned": found["returns"]}
    for name, start in found["starts"].items():
        named[START_NAMES[name].split(" ", 1)[1]] = start["returns"]
    return named


def lines(found: StepsResult) -> list[str]:
    """The same for a person at a terminal."""
    episodes, took = found["episodes_of_a_step"], wording.duration(found["seconds"])
    told = [
        f"{found['family']}: {headline(found)}. {_priors(found)}{found['num_tasks']} held-out "
        f"tasks, each step from {episodes} episodes, {took} a task",
        *(f"  {note}" for note in notes(found)),
        "  return, its 95 % interval and its share of what PPO gains on an untrained policy:",
    ]
    curves: list[tuple[str, Any]] = [("", found)]
    curves += [(f"from {START_NAMES[name]} ", one) for name, one in found["starts"].items()]
    for step in range(len(found["returns"])):
        when = f"after {_steps(step)}" if step else "before any step"
        each = (
            f"{name}{wording.plain_interval(curve['returns'][step])}, "
            f"{wording.percent(curve['shares'][step]['mean'])}"
            for name, curve in curves
        )
        told.append(f"  {when}: {'; '.join(each)}")
    untrained, oracle = (
        wording.number(value) for value in (found["untrained_return"], found["oracle_return"])
    )
    return [*told, f"  PPO with the true reward: {oracle}; an untrained policy: {untrained}"]


def _priors(found: StepsResult) -> str:
    count = found["num_priors"]
    return f"{wording.in_words(count).capitalize()} priors, " if count > 1 else ""


def _steps(count: int) -> str:
    return f"{wording.in_words(count)} gradient step{'' if count == 1 else 's'}"


def _curve(found: StepsResult) -> Drawing:
    def draw(axes: Axes) -> None:
        draw_returns(
            axes,
            curves(found),
            {"PPO": found["oracle_return"], "untrained": found["untrained_return"]},
        )

    first, last = (wording.number(found["returns"][i]["mean"]) for i in (0, -1))
    return drawing(
        draw, ONE, CURVE, "returns",
        f"Return after each gradient step: from {first} before the first to {last} in the end.",
        "Return after each gradient step, with 95 % intervals",
    )  # fmt: skip


def _tasks(found: StepsResult, pictures: FamilyPictures) -> Drawing:
    marked = [one.number for one in pictures.examples if one.number is not None]
    family: Any = found
    worst, best = (wording.percent(end(found["per_task"])) for end in (min, max))
    return drawing(
        lambda axes: figures.draw_tasks(axes, family, marked, "PPO"), ONE, CURVE, "tasks",
        f"How near each of {found['num_tasks']} held-out tasks comes to PPO, from {worst} to "
        f"{best}.",
        f"Every held-out task after {_steps(len(found['gains']))}: 100 % is as PPO does in it; "
        "ringed: those drawn here",
    )  # fmt: skip


def _example(
    found: StepsResult, pictures: FamilyPictures, example: Example, number: int
) -> Drawing:
    family: Any = found
    taken = _steps(len(found["gains"])).replace("gradient ", "")
    standing = wording.standing(family, example.number)
    return drawing(
        lambda pair: figures.draw_before_after(
            pair, pictures.family, example.task, example.before, example.after,
            ("before", f"after {taken}"),
        ),
        TWO, PAIR, f"e{number}", f"What the agent does before and after {taken} ({standing}).",
        standing[0].upper() + standing[1:],
    )  # fmt: skip


def intervals(values: Float[np.ndarray, "prior step task"]) -> list[Interval]:
    """Of means over priors and tasks, one for each step; of one prior over tasks alone."""
    alone = values.shape[0] == 1
    each = (
        mean_interval(values[0, step][:, None])
        if alone
        else mean_interval(values[:, step], shared_tasks=True)
        for step in range(values.shape[1])
    )
    return [interval(one) for one in each]


def interval(found: statistics.Interval) -> Interval:
    """As results have it."""
    return {"mean": found.mean, "low": found.low, "high": found.high}


def stacked(each: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """One entry of what was found for each prior, with a leading dimension for them."""
    return np.stack([found[name] for found in each])
