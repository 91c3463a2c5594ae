"""How it goes, as events of a real server: a test client cannot leave what never ends."""

import http.client
import json
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from metarlhf.teach import people, questions
from metarlhf.teach.web import events


@pytest.fixture
def port(open_world):
    config = uvicorn.Config(open_world.app, port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@contextmanager
def listening(world, port, name):
    """The lines that a browser is sent, as long as it listens."""
    me = world.browser()
    me.sign_in(world.invite(name))
    connection = http.client.HTTPConnection("localhost", port, timeout=10)
    cookie = "; ".join(f"{key}={value}" for key, value in me.cookies.items())
    connection.request("GET", "/api/events", headers={"cookie": cookie})
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    yield (line.decode().rstrip("\r\n") for line in response)
    connection.close()


def news(lines):
    """The next event."""
    found = next(line for line in lines if line.startswith("data:"))
    return json.loads(found.removeprefix("data:"))


def test_everybody_hears_what_changes_until_they_are_not_welcome_any_more(open_world, port):
    with listening(open_world, port, "ana") as ana, listening(open_world, port, "ben") as ben:
        assert next(ana) == "retry: 1000"
        first = news(ana), news(ben)
        assert [one["doing"] for one in first] == ["waiting", "waiting"]
        with open_world.database.write() as connection:
            questions.set_status(connection, open_world.run, {"doing": "practising"})
        assert [news(ana)["doing"], news(ben)["doing"]] == ["practising", "practising"]
        with open_world.database.write() as connection:
            people.revoke(connection, open_world.run, "ana")
        assert [line for line in ana if line] == []  # it ends
        with open_world.database.write() as connection:
            questions.set_status(connection, open_world.run, {"doing": "waiting"})
        assert news(ben)["doing"] == "waiting"


def test_a_browser_hears_that_somebody_is_there_and_may_leave(open_world, port, monkeypatch):
    monkeypatch.setattr(events, "SILENCE", 0.1)
    for _ in range(2):
        with listening(open_world, port, "ana") as lines:
            assert news(lines)["mine"] == 0
            assert next(line for line in lines if line.startswith(":")) == ": still here"
