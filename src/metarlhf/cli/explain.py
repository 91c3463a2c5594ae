"""`metarlhf explain`: what the reward that a run has learned pays for, where, and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from metarlhf import envs, explain, networks, reward
from metarlhf.cli.options import Folder, RunPath, SeedOptions
from metarlhf.cli.parsing import parse
from metarlhf.cli.runs import begun_with, read_object, say, show
from metarlhf.errors import UserError
from metarlhf.explain.config import ExplainConfig
from metarlhf.feedback import Teacher


@dataclass(frozen=True)
class Explain(SeedOptions):
    """Explain the reward that a finished run of metarlhf rlhf, adapt or teach learned: a page, and
    the same as JSON.
    """

    run: RunPath = None
    """Directory of the run."""
    other: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """Directory of another run on the same family, whose reward is compared with this one's."""
    output: Folder = None
    """Folder for explain.html and explain.json; the run's directory unless given."""
    config: ExplainConfig = field(default_factory=ExplainConfig)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options, begin = parse(Explain, argv, "explain", lambda said: Explain()), time.monotonic()
    run = options.run
    if run is None:
        raise UserError("which run? metarlhf explain RUN, where RUN is the directory of a run")
    begun, learned = begun_with(run), _learned(run)
    other = _learned(options.other) if options.other else None
    family = learned.shown
    if other and other.shown.name != family.name:
        raise UserError(
            f"{options.other} learned a reward of {other.shown.name}, {run} one of "
            f"{family.name}: only rewards of one family can be compared"
        )
    import jax

    from metarlhf.cli.environment import task_of
    from metarlhf.report.explanation_page import write_explanation

    compiled = isinstance(family, envs.TaskFamily)
    task = task_of(family, begun.get("task", 0)) if compiled else None
    actor = networks.load_agent(run / "agent").actor if compiled else None
    # What a person wants nobody knows: the task's own reward is not it.
    simulated = read_object(run / "result.json").get("command") != "teach"
    say(f"looking into the reward of {family.name} that {run} has learned")
    try:
        found = explain.explain(
            jax.random.key(options.seed), learned, family, task, actor, options.config,
            true=simulated, other=other,
        )  # fmt: skip
    except explain.NoSuchMapError as error:
        raise UserError(str(error)) from error
    folder = options.output or run
    page = write_explanation(
        folder, found, family, task=task if simulated else None,
        references=options.config.references, other=str(options.other) if other else None,
        answerer=_answerer(begun) if simulated else "people",
    )  # fmt: skip
    result = _result(found, page) | {"seconds": time.monotonic() - begin}
    return show(result, _lines(found, page), options.json)


def _answerer(begun: dict[str, Any]) -> Literal["true", "erring"]:
    """Who answered in a run with a simulated teacher: one that always goes by the true reward?"""
    usual, teacher = Teacher(), (begun.get("config") or {}).get("teacher") or {}
    kept = (
        float(teacher.get(name, getattr(usual, name))) for name in ("beta", "mistake", "myopic")
    )
    return "true" if tuple(kept) == (usual.beta, usual.mistake, usual.myopic) else "erring"


def _learned(run: Path) -> reward.Learned:
    """What the run has kept of its reward.

    Raises:
        UserError: nothing, and why.
        PublishedFileError: it is damaged, changed or of another version.
    """
    begun_with(run)
    if (run / "reward").exists():
        return reward.load_reward(run / "reward")
    result = read_object(run / "result.json")
    if not result:
        raise UserError(
            f"{run} has no reward: its run is not finished. Go on with the same command and "
            "--resume; runs of rlhf, adapt and teach have one at their end"
        )
    command = result.get("command")
    if command in ("rlhf", "adapt", "teach"):
        raise UserError(
            f"{run} kept no reward: its agent learned from what the task pays, or it was made by "
            "an earlier release. Make it anew in another --run-dir, from answers"
        )
    raise UserError(
        f"{run} is a run of metarlhf {command}, which learns no reward of one task: expected one "
        "of rlhf, adapt or teach"
    )


def _result(found: explain.Explanation, page: Path) -> dict[str, Any]:
    from metarlhf.report.explanation_text import verdict

    names, share = [f.name for f in found.features], found.importance["after"].gradients
    return {
        "command": "explain",
        "family": found.family,
        "importance": dict(zip(names, share.tolist(), strict=True)),
        "completeness_error": found.completeness.largest,
        "formula": found.additive.formula,
        "r2": found.additive.r2,
        "verdict": verdict(found)._asdict(),
        "distances": [one._asdict() for one in found.distances],
        "answers": len(found.answers),
        "page": str(page),
    }


def _lines(found: explain.Explanation, page: Path) -> list[str]:
    from metarlhf.report.explanation_page import JSON
    from metarlhf.report.explanation_text import headline, verdict

    told = "by construction" if found.additive.exact else f"{found.additive.r2:.0%} of it"
    lines = [headline(found), f"{found.additive.formula} ({told})"]
    lines += verdict(found).sentences
    return [*lines, f"the page is {page}, the same as JSON in {page.parent / JSON}"]
