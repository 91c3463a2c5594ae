"""What holds practice, in numbers."""

from typing import Any

from metarlhf.rlhf.loop import RLHFState


def held_metrics(state: RLHFState) -> dict[str, Any]:
    """What was marked, and how far limit and leash held in the last update, as plain numbers.

    Nothing of what was not asked for; before the first update only how much was marked.
    """
    found: dict[str, Any] = {}
    updated = int(state.ppo.updates) > 0
    if (never := state.never) is not None:
        looked_at = never.marks.weight > 0
        marked = looked_at & never.marks.forbidden.any(-1)
        found |= {"never_clips": int(looked_at.sum()), "never_marked": int(marked.sum())}
        if updated:
            multiplier = float(never.multiplier.value)
            found |= {"never_share": float(never.share), "never_multiplier": multiplier}
    if (leash := state.leash) is not None and updated:
        found |= {"leash_kl": float(leash.kl), "leash_coefficient": float(leash.coefficient)}
    return found
