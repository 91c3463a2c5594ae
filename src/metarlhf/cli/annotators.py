"""`metarlhf annotators`: who may answer in a lesson."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarlhf.cli.extras import must_have_page
from metarlhf.cli.options import DATABASE, Url
from metarlhf.cli.parsing import parse
from metarlhf.cli.runs import read_object, show
from metarlhf.errors import UserError
from metarlhf.teach.directory import open_labels


@dataclass(frozen=True)
class Annotators:
    """List the people of a lesson, invite one, or let one in no more.

    Once it is over, also how many of each one's answers the model takes to be wrong, by what all
    of them said: in lessons from a prior, and in others with --ensemble.lapse 0.1.
    """

    run: Annotated[Path, tyro.conf.Positional] = Path("run")
    """Directory of a run of `metarlhf teach`."""
    invite: str | None = None
    """Name of somebody who gets a token, shown this once; an older one of theirs is void."""
    revoke: str | None = None
    """Name of somebody whose token is void from now on; what they said stays."""
    database: Url = None
    """Where its labels are, if not in its directory."""
    json: bool = False
    """Print one JSON object as the last line."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    must_have_page()
    if not argv:
        raise UserError("which lesson? metarlhf annotators RUN, the directory of a lesson")
    options = parse(Annotators, argv, "annotators", lambda said: Annotators(), DATABASE)
    from metarlhf.teach import people  # late: it imports NumPy

    with (
        open_labels(options.run, options.database) as (database, run),
        database.write() as connection,
    ):
        token = people.invite(connection, run, options.invite) if options.invite else None
        if options.revoke:
            people.revoke(connection, run, options.revoke)
        found = people.everybody(connection, run)
    wrong = read_object(options.run / "result.json").get("wrong", {})
    told = lambda name: f", about {wrong[name]:.0%} of them wrong" if name in wrong else ""
    lines = [f"{one.name}: {one.answers} answers{told(one.name)}, {one.standing}" for one in found]
    if token:
        lines.append(f"{options.invite} signs in with the token {token}")
        lines.append(f"or by the page's address with #token={token} after it")
    result = {
        "command": "annotators",
        "people": [one._asdict() | {"wrong": wrong.get(one.name)} for one in found],
        "token": token,
    }
    return show(result, lines or ["nobody yet"], options.json)
