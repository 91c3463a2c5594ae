"""What came of RLHF on one task, in a run's result and in sentences: constraints and watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metarlhf import envs
from metarlhf.errors import UserError
from metarlhf.rlhf.config import RLHFConfig

# What metrics of a leash, and of what must never be, are called.
HOLDING = ("never_", "leash_")
# What a run's result tells of each check: what the newest agent was liked, and what the agent that
# is left after the check returns, which of the last one, or where practice halts, is the best.
CHECKED = ("steps", "return", "return_as_shown", "liked", "foreseen")
# The same of forbidden steps.
COSTS = ("cost", "cost_exploring")

# Shares in a sentence.
MOST = 6


def holding(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What leash and limit came to (`rlhf.constraint_metrics`), for a run's result."""
    return {name: value for name, value in rows[-1].items() if name.startswith(HOLDING)}


def held_words(result: dict[str, Any], config: RLHFConfig) -> list[str]:
    """The same for a person, in a line each."""
    return [*_never_words(result, config), *_leash_words(result, config)]


def _never_words(result: dict[str, Any], config: RLHFConfig) -> list[str]:
    if "never_clips" not in result:
        return []
    clips, marked = result["never_clips"], result["never_marked"]
    line = f"Never this: {clips} clips were looked over, and {marked} of them marked."
    if not marked:
        return [
            f"{line} Warning: without a mark there is nothing to learn from, and nothing was held. "
            "Let more clips be looked over (--never.clips)."
        ]
    if "never_share" not in result:
        return [f"{line} No update was made, so nothing was held."]
    share, limit = result["never_share"], config.never.limit
    against = "within" if share <= limit else "above"
    return [
        f"{line} By the cost model {share:.2%} of the last update's steps are forbidden, {against} "
        f"the limit of {limit:.2%}. Such a step is charged {result['never_multiplier']:.1f} times "
        "a standard deviation of a step's reward (the multiplier)."
    ]


def _leash_words(result: dict[str, Any], config: RLHFConfig) -> list[str]:
    if "leash_kl" not in result:
        return []
    return [
        f"Leash: in the last update the policy was {result['leash_kl']:.3g} nats a step from its "
        f"reference (KL), where {config.leash:g} was asked for; a nat costs "
        f"{result['leash_coefficient']:.3g} standard deviations of a step's reward."
    ]


def check_marks(config: RLHFConfig, family: envs.Shown) -> None:
    """Refuse that somebody marks what must never be where there is no such thing.

    Raises:
        UserError: it is so.
    """
    from metarlhf.rlhf.constraints import CostFamily

    if config.never.clips and not isinstance(family, CostFamily):
        raise UserError(
            f"--never.clips is {config.never.clips}, but nothing is forbidden in "
            f"{family.name} that a simulated person could mark: name a family where something is, "
            "such as navigation/hazard"
        )


def costing(before: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    """Forbidden steps before and after, for a run's result."""
    names = [name for name in COSTS if name in last]
    return {f"{name}_before": before[name] for name in names} | {name: last[name] for name in names}


def cost_words(result: dict[str, Any]) -> list[str]:
    """What a run's forbidden steps came to, for a person."""
    if "cost" not in result:
        return []
    before, after, exploring = (
        f"{result[name]:.2f}" for name in ("cost_before", "cost", "cost_exploring")
    )
    return [
        f"Forbidden steps in an episode: {before} -> {after}, and {exploring} while it explores."
    ]


def parting(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the checks of a run came to, for its result."""
    checks = [row for row in rows if "liked" in row]
    if not checks:
        return {}
    return {
        "checks": [{name: row[name] for name in CHECKED if name in row} for row in checks],
        "check_answers": checks[-1]["check_answers"],
        "halted": checks[-1]["halted"],
    }


def parted_words(result: dict[str, Any]) -> list[str]:
    """The same for a person."""
    if "checks" not in result:
        return []
    liked, foreseen = (_shares(result["checks"], name) for name in ("liked", "foreseen"))
    ended = "Practice was halted, and the" if result["halted"] else "The"
    count = result["check_answers"]
    return [
        f"With {count} answer{'s'[: count != 1]} more practice was watched: the newest agent was "
        f"liked better than the best before in {liked} of episodes; the reward expected "
        f"{foreseen}. {ended} best is kept, of those that were checked after the last regular "
        "answer.",
        *_shown_words(result),
    ]


def _shares(checks: Sequence[dict[str, Any]], name: str) -> str:
    """One after the other; of many, the first and the last."""
    each = [f"{check[name]:.0%}" for check in checks]
    if len(each) > MOST:
        each = [*each[: MOST // 2], "...", *each[-MOST // 2 :]]
    return ", ".join(each)


def _shown_words(result: dict[str, Any]) -> list[str]:
    """Why what was liked may not be what the task pays."""
    paid, shown = (lambda check: check["return"]), (lambda c: c.get("return_as_shown", paid(c)))
    best, kept = max(result["checks"], key=paid), result["checks"][-1]
    if paid(best) <= paid(kept) or shown(best) == paid(best):
        return []
    return [
        "An episode of this task ends where it is done, which would give the answer away: whoever "
        "answers sees it go on, so an agent that runs through the goal looks worse than its "
        f"return. Here one of {paid(best):.2f} looked like one of {shown(best):.2f}; the agent "
        f"that is kept looks like one of {shown(kept):.2f}."
    ]
