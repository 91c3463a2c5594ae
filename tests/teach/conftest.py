"""Databases to test on, SQLite always, PostgreSQL where a server can be started; and a page."""

import os

import numpy as np
import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from benchmarks.people.postgresql import programs, server
from metarlhf.teach import Clip, Database, NewQuestion, people, questions
from metarlhf.teach.tables import metadata
from metarlhf.teach.web.app import Settings, create_app


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


def clip(number):
    obs = np.full((5, 2), number, np.float32)
    scene = {"steps": 5, "view": [0, 1, 0, 1], "still": [], "frames": [[]] * 5, "words": "",
             "track": [], "rate": 10}  # fmt: skip
    return Clip({"obs": obs, "action": obs}, scene)


class Somebody(TestClient):
    """A browser."""

    def sign_in(self, token=None):
        said = self.post("/api/session", json={"token": token})
        if said.status_code == 200:
            self.headers["x-csrf-token"] = said.json()["csrf"]
        return said

    def next(self):
        return self.post("/api/next").json()["next"]

    def answer(self, question, choice="left", request="r", **more):
        body = {"question": question, "request": request, "seconds": 1.0, "choice": choice, **more}
        return self.post("/api/answers", json=body)


class World:
    """A run with questions, and its page."""

    def __init__(self, folder, settings, count=4, **options):
        self.database = Database(f"sqlite:///{folder / 'labels.db'}")
        with self.database.write() as connection:
            self.run = questions.new_run(connection, "navigation", {})
            new = [NewQuestion(clip(2 * i), clip(2 * i + 1), **options) for i in range(count)]
            self.questions = questions.ask(connection, self.run, new)
            questions.set_status(connection, self.run, {"doing": "waiting", "labels": 10})
        self.app = create_app(self.database, self.run, settings)

    def browser(self):
        return Somebody(self.app, base_url="http://localhost")

    def invite(self, name):
        with self.database.write() as connection:
            return people.invite(connection, self.run, name)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, Settings())
    with made.browser():  # the application begins and ends with it
        yield made
    made.database.close()


@pytest.fixture
def open_world(tmp_path):
    """For people with tokens, from anywhere."""
    made = World(tmp_path, Settings(needs_tokens=True, hosts=None), overlap=2)
    with made.browser():
        yield made
    made.database.close()
