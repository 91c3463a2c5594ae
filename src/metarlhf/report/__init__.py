"""What a run has shown, as one page that anyone can read and one picture for a README."""

from metarlhf.report.figures import write_picture, write_returns
from metarlhf.report.html import write_report
from metarlhf.report.schema import (
    Curve,
    Example,
    FamilyPictures,
    FamilyResult,
    Interval,
    Mark,
    MetaTraining,
    Question,
    Results,
    RewardMaps,
    StepsResult,
)
from metarlhf.report.steps import write_steps

__all__ = [
    "write_report",
    "write_picture",
    "write_returns",
    "write_steps",
    "Results",
    "FamilyResult",
    "Interval",
    "Curve",
    "MetaTraining",
    "FamilyPictures",
    "Example",
    "Question",
    "Mark",
    "RewardMaps",
    "StepsResult",
]
