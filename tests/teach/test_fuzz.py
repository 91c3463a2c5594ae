"""Whatever is sent, the server has no error of its own, and keeps nothing that it refused."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import func, select

from metarlhf.teach import tables

NAMES = st.sampled_from(
    ["question", "request", "seconds", "choice", "mark", "clip", "step", "token", "more"]
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=70),
    st.sampled_from(["left", "right", "equal", "skip", "a", 1, 2, 0.5]),
)  # fmt: skip
VALUES = st.recursive(
    PLAIN, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3), max_leaves=6
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(NAMES, VALUES, max_size=6).map(json.dumps),
    VALUES.map(json.dumps),
)  # fmt: skip
PATHS = st.sampled_from(
    ["/api/session", "/api/next", "/api/answers", "/api/undo", "/api/corrections", "/api/status",
     "/api/clips/1", "/api/clips/x", "/api/openapi.json", "/report", "/", "/static/../app.py",
     "/static/nothing", "/api/events/x", "//", "/%00"]
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])


def counts(world):
    with world.database.read() as connection:
        number = lambda table: connection.execute(select(func.count()).select_from(table)).scalar()
        return number(tables.answers), number(tables.corrections)


@pytest.fixture
def me(world):
    browser = world.browser()
    browser.sign_in()
    return world, browser


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=METHODS, path=PATHS, body=BODIES, signed=st.booleans())
def test_every_request_is_answered_or_refused(me, method, path, body, signed):
    world, browser = me
    world.app.state.rate._buckets.clear()
    world.app.state.sign_ins._buckets.clear()
    before = counts(world)
    headers = {"content-type": "application/json"} | ({} if signed else {"cookie": ""})
    said = browser.request(method, path, content=body, headers=headers)
    assert said.status_code < 500
    if said.status_code >= 400:
        assert counts(world) == before
        assert "Traceback" not in said.text


def test_what_the_page_takes_is_described(world):
    """For tools that test by description: every route is there, with what it refuses."""
    described = world.app.openapi()["paths"]
    for path in ("/api/session", "/api/next", "/api/answers", "/api/undo", "/api/corrections"):
        assert "post" in described[path]
    for path in ("/api/status", "/api/clips/{clip}", "/api/events"):
        assert "get" in described[path]


# Requests by the API's own description, right and wrong ones.
ENDLESS = "/api/events"


@pytest.fixture
def schema(world):
    found = schemathesis.openapi.from_asgi(
        "/api/openapi.json", world.app, headers={"host": "localhost"}
    )
    return found.exclude(path=ENDLESS)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_it_is_as_described(world, schema, mode):
    me = world.browser()
    me.sign_in()
    signed = {"host": "localhost", "x-csrf-token": me.headers["x-csrf-token"]}
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode.is_negative and not (operation.body or operation.path_parameters):
            continue  # nothing can be wrong with what says nothing

        @settings(
            max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            world.app.state.rate._buckets.clear()
            world.app.state.sign_ins._buckets.clear()
            case.call_and_validate(
                headers=signed, cookies=dict(me.cookies), excluded_checks=[positive_data_acceptance]
            )  # 1.0 is an integer to JSON Schema, and not here

        ask()
