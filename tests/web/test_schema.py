"""The API under schemathesis: requests by its own description, right and wrong ones."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

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
