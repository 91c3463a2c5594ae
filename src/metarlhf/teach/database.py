"""Opening a label store: SQLite in WAL mode by default, PostgreSQL by URL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from metarlhf.errors import LabelError
from metarlhf.teach import tables

T = TypeVar("T")

# A writer waits so long for another one, in seconds.
_PATIENCE = 30.0


class Database:
    """A label store; close it when done. Any number of processes may have it open.

    Raises:
        LabelError: it cannot be opened; the message says why.
    """

    def __init__(self, url: str):
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        try:
            found = self._create_tables()
        except DBAPIError as error:
            self.close()
            raise LabelError(
                f"the labels at {_public(url)} cannot be opened: {error.orig}"
            ) from error
        if found != tables.VERSION:
            self.close()
            raise LabelError(
                f"the labels at {_public(url)} are of version {found}, and this release reads "
                f"{tables.VERSION}: open them with the release that made them, or `metarlhf "
                "export` them there and `metarlhf import` them here"
            )

    @staticmethod
    def beside(run: Path) -> "Database":
        """The SQLite database of a run directory."""
        run.mkdir(parents=True, exist_ok=True)
        return Database(f"sqlite:///{run / 'labels.db'}")

    @contextmanager
    def write(self, alone: bool = False) -> Iterator[Connection]:
        """A transaction that may write. When it has ended without an error, all is on disk.

        Of those that are to be `alone` there is one at a time, on either database: what one of them
        sees, no other changes meanwhile. SQLite's are always so.
        """
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if alone and not self.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7331)")
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database."""
        level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    def query(self, look: Callable[..., T], *args: Any, **options: Any) -> T:
        """What `look` finds by a connection and these arguments, in a transaction of its own."""
        with self.read() as connection:
            return look(connection, *args, **options)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def _create_tables(self) -> int:
        """Create the tables of an empty database, one process at a time.

        Returns:
            The version of its schema. The first one was made before versions were stamped, too.
        """
        with self.write(alone=True) as connection:
            there = inspect(connection)
            if there.has_table(tables.schema.name):
                return connection.execute(select(tables.schema.c.version)).scalar_one()
            found = 1 if there.has_table(tables.runs.name) else tables.VERSION
            if found == tables.VERSION:
                tables.metadata.create_all(connection)
                connection.execute(insert(tables.schema).values(version=found))
        return found


def without_password(url: str) -> str:
    """As a URL may be written down."""
    return make_url(url).set(password=None).render_as_string(hide_password=False)


def number_of(inserted: CursorResult) -> int:
    """The number that a row got."""
    key = inserted.inserted_primary_key
    assert key is not None
    return key[0]


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = create_engine(parsed, connect_args={"timeout": _PATIENCE})
            _prepare_sqlite(engine)
            return engine
        if parsed.get_backend_name() == "postgresql":
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            return create_engine(parsed, pool_pre_ping=True, pool_size=8)
    except (ArgumentError, NoSuchModuleError) as error:
        raise LabelError(
            f"{_public(url)!r} is no database: expected sqlite:///PATH or "
            "postgresql://USER@HOST/DATABASE"
        ) from error
    except ModuleNotFoundError as error:
        raise LabelError(
            f"{error.name} is missing, which PostgreSQL needs: pip install 'metarlhf[postgresql]'"
        ) from error
    raise LabelError(f"labels are kept in SQLite or PostgreSQL, not in {parsed.get_backend_name()}")


def _public(url: str) -> str:
    """Without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def _prepare_sqlite(engine: Engine) -> None:
    """WAL, so that readers wait for nobody; every commit synced, so that it survives a power cut.

    Python's driver begins transactions by guessing; here SQLAlchemy begins them, and one that will
    write says so at once, or two that began as readers would refuse each other.
    """

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
