"""Databases to test on: SQLite always, PostgreSQL where a server of one's own can be started."""

import os

import pytest

from benchmarks.people.postgresql import programs, server
from metarlhf.teach import Database, people, questions


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a server that lives as long as the tests."""
    if programs() is None:
        if os.environ.get("CI_REQUIRES_POSTGRESQL"):
            pytest.fail("PostgreSQL is not installed, and these tests may not be left out here")
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'labels.db'}"
    else:
        url = request.getfixturevalue("postgresql")
    opened = Database(url)
    yield opened
    if request.param == "postgresql":
        from metarlhf.teach.tables import metadata

        with opened.write() as connection:
            metadata.drop_all(connection)
    opened.close()


@pytest.fixture
def run(database):
    """A run's number."""
    with database.write() as connection:
        return questions.new_run(connection, "navigation", {"labels": 10})


@pytest.fixture
def someone(database, run):
    """The number of somebody who answers."""
    with database.write() as connection:
        return people.local(connection, run, "ana").id
