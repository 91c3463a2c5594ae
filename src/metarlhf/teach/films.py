"""Films of what a simulator did, made beside the agent: `python -m metarlhf.teach.films`.

`metarlhf teach` starts it. What is to be filmed, and the films, are among the labels: it may be
killed and go on, and the agent waits for none of them. It ends with the process that started it.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from sqlalchemy import Connection, exists, func, or_, select, update

from metarlhf.envs import FilmedEnv, film
from metarlhf.envs.adapters.replays import Replay
from metarlhf.report.film import encode
from metarlhf.teach import tables
from metarlhf.teach.database import Database
from metarlhf.teach.directory import LABELS
from metarlhf.teach.records import unpack, unpack_replay

# Time between two looks for something to film, in seconds.
_PAUSE = 0.1
# What is seen again must be what was seen before, but for the last digits.
_TOLERANCE = 1e-3


class _Wanted(NamedTuple):
    """A clip that has no film yet."""

    clip: int
    obs: np.ndarray
    replay: Replay


def _wanted(connection: Connection, run: str) -> _Wanted | None:
    """What to film next: clips that somebody waits for, those of the most telling question that is
    open, or what the agent does now.
    """
    clips, questions, leases = tables.clips, tables.questions, tables.leases
    unmade = (clips.c.run_id == run) & clips.c.film.is_(None) & clips.c.replay.is_not(None)
    columns = (clips.c.id, clips.c.arrays, clips.c.replay)
    shown_in = or_(questions.c.left_id == clips.c.id, questions.c.right_id == clips.c.id)
    held = exists().where(leases.c.question_id == questions.c.id, leases.c.until > time.time())
    first = (held.desc(), questions.c.round.desc(), questions.c.gain.desc(), clips.c.id)
    asked = (
        select(*columns)
        .join(questions, shown_in)
        .where(unmade, or_(questions.c.wanted > 0, held))
        .order_by(*first)
        .limit(1)
    )
    mine = (clips.c.run_id == run) & (clips.c.source == "now")
    newest = select(func.max(clips.c.id)).where(mine).scalar_subquery()
    now = select(*columns).where(unmade, clips.c.id == newest)
    row = connection.execute(asked).first() or connection.execute(now).first()
    if row is None:
        return None
    return _Wanted(row.id, unpack(row.arrays)["obs"], unpack_replay(row.replay))


def _shoot(
    env: FilmedEnv, replay: Replay, expected: np.ndarray
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The clip's frames, one before each of its steps.

    Raises:
        RuntimeError: what is seen is not what the clip says.
    """
    obs = env.reset(replay.seed)
    for step, action in enumerate(replay.actions):
        if step >= replay.start:
            if not np.allclose(obs[0], expected[step - replay.start], _TOLERANCE, _TOLERANCE):
                raise RuntimeError("the simulator did something else this time")
            yield env.frame()
        obs = env.step(action[None]).next_obs


def make_next(database: Database, run: str, env: FilmedEnv) -> bool:
    """Make one film, if there is one to be made.

    Where the simulator does something else this time, or fails, an empty film is kept: the others
    are not to wait for it.

    Returns:
        Whether there was.
    """
    found = database.query(_wanted, run)
    if found is None:
        return False
    try:
        made = encode(".mp4", _shoot(env, found.replay, found.obs), env.frames_per_second)
    except Exception as error:  # whatever somebody's simulator raises
        sys.stderr.write(f"there is no film of clip {found.clip}: {error!r}\n")
        made = b""
    table = tables.clips
    with database.write() as connection:
        connection.execute(update(table).where(table.c.id == found.clip).values(film=made))
    return True


def film_of(database: Database, clip: int, seconds: float) -> bytes | None:
    """A clip's film, waited for so long; None where it has none."""
    table, end = tables.clips, time.monotonic() + seconds
    query = select(table.c.film, table.c.replay).where(table.c.id == clip)
    while True:
        with database.read() as connection:
            row: Any = connection.execute(query).first()
        if row is None or row.replay is None or row.film is not None or time.monotonic() > end:
            return (row.film if row is not None else None) or None
        time.sleep(_PAUSE)


def main() -> None:
    """Make films until the process that started this one ends."""
    parser = argparse.ArgumentParser(prog="python -m metarlhf.teach.films", description=__doc__)
    parser.add_argument("--run", required=True)
    parser.add_argument("--env", required=True)
    parser.add_argument("--parent", type=int, required=True)
    args = parser.parse_args()
    database = Database(os.environ[LABELS])
    with closing(database), closing(film(args.env)) as env:
        while os.getppid() == args.parent:
            if not make_next(database, args.run, env):
                time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
