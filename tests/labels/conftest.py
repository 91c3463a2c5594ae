"""Databases to test on: SQLite always, PostgreSQL where a server of one's own can be started."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from metarlhf.labels import Database, asking, people

PLACES = ("/usr/lib/postgresql",)


def postgresql_programs():
    """The folder of `initdb` and `postgres`, newest first; None where there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = [path for place in PLACES for path in Path(place).glob("*/bin/initdb")]
    return max(versions, key=lambda path: int(path.parts[-3]), default=Path()).parent or None


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a server that lives as long as the tests, on a socket of its own."""
    programs = postgresql_programs()
    if programs is None or not (programs / "initdb").exists():
        if os.environ.get("CI_REQUIRES_POSTGRESQL"):
            pytest.fail("PostgreSQL is not installed, and these tests may not be left out here")
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # The server refuses to be root, and a user that is not root needs no other.
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(folder, "postgres")
    data, options = folder / "data", f"-k {folder} -c listen_addresses="
    run = lambda *words: subprocess.run([*other, *words], check=True, capture_output=True)
    run(programs / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-E", "UTF8")
    control = [programs / "pg_ctl", "-D", data, "-w"]
    run(*control, "-o", options, "-l", folder / "log", "start")
    try:
        yield f"postgresql://tester@/postgres?host={folder}"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'labels.db'}"
    else:
        url = request.getfixturevalue("postgresql")
    opened = Database(url)
    yield opened
    if request.param == "postgresql":
        from metarlhf.labels.tables import metadata

        with opened.write() as connection:
            metadata.drop_all(connection)
            connection.exec_driver_sql("DROP TABLE alembic_version")
    opened.close()


@pytest.fixture
def run(database):
    """A run's number."""
    with database.write() as connection:
        return asking.new_run(connection, "navigation", {"labels": 10})


@pytest.fixture
def someone(database, run):
    """The number of somebody who answers."""
    with database.write() as connection:
        return people.local(connection, run, "ana").id
