"""Several priors that differ by the seed of their meta-training, measured as one."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from jaxtyping import Float

from metarlhf import statistics
from metarlhf.errors import UserError
from metarlhf.files import digest
from metarlhf.meta.prior import GradientPrior, load_prior
from metarlhf.report import Interval
from metarlhf.statistics import mean_interval

Also = Annotated[tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FOLDER")]


def with_others(prior: GradientPrior, also: Sequence[Path]) -> list[GradientPrior]:
    """`prior`, and those in the other folders.

    Raises:
        UserError: one was meta-trained otherwise, on another family or in another way.
        PublishedFileError: see `metarlhf.files.load`.
    """
    others = [load_prior(folder) for folder in also]
    for folder, other in zip(also, others, strict=True):
        if other.shape != prior.shape:
            raise UserError(
                f"--also {folder}: that prior was meta-trained otherwise. Intervals are over seeds "
                "alone: name priors of the same family and --config"
            )
    return [prior, *others]  # type: ignore[list-item]


def digests(folder: Path, also: Sequence[Path]) -> str:
    """Tells apart what is measured.

    Raises:
        UserError: a prior is named twice.
    """
    each = [digest(one) or "" for one in (folder, *also)]
    if len({*each}) < len(each):
        raise UserError("--also: one of the priors is named twice, which says nothing of seeds")
    return each[0] if not also else sha256("-".join(each).encode()).hexdigest()


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
