"""How far people agree who were asked the same."""

from collections.abc import Iterable, Mapping

import numpy as np


def krippendorff_alpha(units: Iterable[Mapping[str, float]]) -> float | None:
    """Krippendorff's alpha with the interval metric (Krippendorff 2011, "Computing alpha").

    1 is agreement, 0 what chance would give, below 0 worse than chance. Preferences (0, 0.5, 1) and
    marks are both on a scale where distances mean something, which is what that metric takes.

    Args:
        units: for each question, what each person said. Those with fewer than two count for
            nothing.

    Returns:
        None where no question has two answers; 1 where all answers of all of them are the same.
    """
    pairable = [np.array(list(unit.values()), float) for unit in units if len(unit) >= 2]
    if not pairable:
        return None
    everything = np.concatenate(pairable)
    total = len(everything)
    observed = sum(_squares(values) / (len(values) - 1) for values in pairable) / total
    expected = _squares(everything) / (total * (total - 1))
    return 1.0 if expected == 0 else float(1.0 - observed / expected)


def _squares(values: np.ndarray) -> float:
    """Sum of squared differences over all ordered pairs."""
    return float(2.0 * (len(values) * np.sum(values**2) - np.sum(values) ** 2))
