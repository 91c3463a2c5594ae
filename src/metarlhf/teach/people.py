"""Who answers: people of a run, each with a token that is shown once and kept as a hash alone; and
how far those agree who were asked the same.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, update

from metarlhf.errors import LabelError
from metarlhf.teach import tables
from metarlhf.teach.database import number_of

# How long a browser stays signed in, in seconds.
SESSION = 30 * 24 * 3600.0


class Annotator(NamedTuple):
    """Somebody who answers."""

    id: int
    run: str
    name: str


def hashed(secret: str) -> str:
    """As a secret is kept. They are random and long, so that a fast hash will do."""
    return hashlib.sha256(secret.encode()).hexdigest()


def local(connection: Connection, run: str, name: str = "you") -> Annotator:
    """The person at this machine, who needs no token."""
    found = _number(connection, run, name)
    if found is None:
        row = {"run_id": run, "name": name, "made_at": time.time()}
        found = number_of(connection.execute(insert(tables.annotators).values(**row)))
    return Annotator(found, run, name)


def invite(connection: Connection, run: str, name: str) -> str:
    """Invite a person by name; a token that they had before is void.

    Returns:
        Their token, which is not kept.

    Raises:
        LabelError: the name is empty or too long.
    """
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise LabelError(f"{name!r} is no name: expected 1 to 64 printable characters")
    person, token = local(connection, run, name), secrets.token_urlsafe(32)
    _sign_out(connection, person.id)
    connection.execute(
        update(tables.annotators)
        .where(tables.annotators.c.id == person.id)
        .values(token_hash=hashed(token), revoked_at=None)
    )
    return token


def revoke(connection: Connection, run: str, name: str) -> None:
    """Void a person's token and sign them out. What they said stays.

    Raises:
        LabelError: there is nobody of that name.
    """
    table, found = tables.annotators, _number(connection, run, name)
    if found is None:
        known = ", ".join(sorted(names(connection, run))) or "nobody"
        raise LabelError(f"there is nobody called {name!r} here; there is {known}")
    _sign_out(connection, found)
    connection.execute(update(table).where(table.c.id == found).values(revoked_at=time.time()))


def names(connection: Connection, run: str) -> list[str]:
    """All people of a run, in the order in which they came."""
    table = tables.annotators
    found = select(table.c.name).where(table.c.run_id == run).order_by(table.c.id)
    return list(connection.execute(found).scalars())


class Listed(NamedTuple):
    """A person, how many answers of theirs stand, and whether they may come in."""

    name: str
    answers: int
    standing: str
    """"at this machine", "invited" or "revoked"."""


def everybody(connection: Connection, run: str) -> list[Listed]:
    """All people of a run, and how many answers of theirs stand."""
    table, answers = tables.annotators, tables.answers
    given = (
        select(func.count())
        .where(answers.c.annotator_id == table.c.id, answers.c.undone_at.is_(None))
        .scalar_subquery()
    )
    rows = connection.execute(
        select(table.c.name, given.label("given"), table.c.token_hash, table.c.revoked_at)
        .where(table.c.run_id == run)
        .order_by(table.c.id)
    )
    standing = lambda row: (
        "revoked" if row.revoked_at else "invited" if row.token_hash else "at this machine"
    )
    return [Listed(row.name, row.given, standing(row)) for row in rows]


def with_token(connection: Connection, run: str, token: str) -> Annotator | None:
    """Whose token that is; None where it is nobody's, or not any more."""
    table, wanted = tables.annotators, hashed(token)
    row = connection.execute(
        select(table.c.id, table.c.name, table.c.token_hash).where(
            table.c.run_id == run, table.c.token_hash == wanted, table.c.revoked_at.is_(None)
        )
    ).first()
    if row is None or not hmac.compare_digest(row.token_hash, wanted):
        return None
    return Annotator(row.id, run, row.name)


def sign_in(connection: Connection, annotator: Annotator) -> str:
    """Let a browser in, for `SESSION` seconds.

    Returns:
        What its cookie is to hold.
    """
    cookie, now = secrets.token_urlsafe(32), time.time()
    connection.execute(delete(tables.sessions).where(tables.sessions.c.until < now))
    row = {"hash": hashed(cookie), "annotator_id": annotator.id, "until": now + SESSION}
    connection.execute(insert(tables.sessions).values(**row))
    return cookie


def signed_in(connection: Connection, run: str, cookie: str) -> Annotator | None:
    """Who has this cookie; None: nobody, or nobody any more."""
    sessions, annotators = tables.sessions, tables.annotators
    row = connection.execute(
        select(annotators.c.id, annotators.c.name)
        .join(annotators, annotators.c.id == sessions.c.annotator_id)
        .where(
            sessions.c.hash == hashed(cookie),
            sessions.c.until > time.time(),
            annotators.c.run_id == run,
            annotators.c.revoked_at.is_(None),
        )
    ).first()
    return None if row is None else Annotator(row.id, run, row.name)


def _number(connection: Connection, run: str, name: str) -> int | None:
    table = tables.annotators
    named = (table.c.run_id == run) & (table.c.name == name)
    return connection.execute(select(table.c.id).where(named)).scalar()


def _sign_out(connection: Connection, annotator: int) -> None:
    connection.execute(delete(tables.sessions).where(tables.sessions.c.annotator_id == annotator))


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
