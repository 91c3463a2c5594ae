"""A prior that a command published, once for all tests of commands."""

import pytest

from tests.cli.tiny import meta_train


@pytest.fixture(scope="session")
def prior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meta") / "run"
    assert meta_train(folder) == 0
    return folder / "prior"
