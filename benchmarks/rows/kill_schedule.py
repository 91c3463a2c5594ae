"""`kill -9` of the page, of the agent, and of both, at 50 random moments while people answer.

`metarlhf teach` with five people, each of whom answers about five times a second, and each answer
until it is acknowledged, as the page does. After each kill, both must go on before the next: an
answer is taken, and the agent learns from one more. In the end every answer that was acknowledged
is there, once, nothing else is, and the agent has learned from all of them. The figure is the share
of kills after which all of that held: there is none but 1, for anything else stops the row.
"""

import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.harness import Result
from benchmarks.people.kills import schedule

ROW = "kill-schedule"
KILLS = 50


def measure(options):
    """One lesson, killed again and again."""
    count = 3 if options.quick else KILLS
    with tempfile.TemporaryDirectory() as folder:
        outcome = schedule(Path(folder) / "run", count)
    acknowledged = sorted(outcome.acknowledged)
    if acknowledged != sorted(outcome.kept) or len(set(acknowledged)) < len(acknowledged):
        raise RuntimeError(
            f"{len(acknowledged)} answers were acknowledged, {len(outcome.kept)} are kept"
        )
    if outcome.learned_from != len(acknowledged):
        raise RuntimeError(f"learned from {outcome.learned_from} of {len(acknowledged)} answers")
    return Result(
        ROW,
        "acknowledged answers are there once, and both go on",
        1.0,
        must=1.0,
        details={
            "kills": dict(Counter(outcome.kills)),
            "acknowledged": len(acknowledged),
            "kept": len(outcome.kept),
        },
    )
