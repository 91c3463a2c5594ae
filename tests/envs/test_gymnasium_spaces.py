"""Gymnasium's spaces and ours say the same."""

import numpy as np
import pytest
from gymnasium import spaces

from metarlhf.envs import Box, Discrete, Image, MultiBinary, MultiDiscrete, Parts
from metarlhf.envs.adapters.gymnasium_spaces import (
    action_space,
    observation_space,
    to_action,
    to_observation,
)
from metarlhf.errors import SimulatorError

BOUNDED = spaces.Box(np.array([-1.0, 0.0]), np.array([1.0, 5.0]), dtype=np.float64)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (BOUNDED, Box(2, (-1.0, 0.0), (1.0, 5.0), ("obs 0", "obs 1"))),
        (spaces.Box(-1, 1, (1, 2)), Box(2, -1.0, 1.0, ("obs 0", "obs 1"))),
        (spaces.Discrete(2, start=7), Box(2, 0.0, 1.0, ("obs 0", "obs 1"))),
        (spaces.MultiBinary(2), Box(2, 0.0, 1.0, ("obs 0", "obs 1"))),
        (spaces.Box(0, 255, (84, 96, 3), np.uint8), Image((84, 96, 3), "uint8")),
        (spaces.Box(0, 255, (4, 84, 96), np.uint8), Image((84, 96, 4), "uint8")),
        (spaces.Box(0, 255, (84, 96), np.uint8), Image((84, 96, 1), "uint8")),
        (spaces.Box(0, 1, (10, 10, 4), bool), Image((10, 10, 4), "float32")),
    ],
)
def test_what_is_observed(space, expected):
    assert observation_space(space) == expected


def test_dictionaries_and_tuples_are_parts():
    image = spaces.Box(0, 255, (5, 5, 3), np.uint8)
    space = spaces.Dict(speed=BOUNDED, camera=image)
    found = observation_space(space)
    assert isinstance(found, Parts)
    assert dict(zip(found.names, found.spaces, strict=True))["camera"] == Image((5, 5, 3))
    batch = {"speed": np.zeros((6, 2)), "camera": np.ones((6, 5, 5, 3), np.uint8)}
    seen = to_observation(space, batch)
    assert seen["speed"].dtype == np.float32
    assert seen["camera"].dtype == np.uint8
    pair = spaces.Tuple([spaces.Discrete(3), BOUNDED])
    seen = to_observation(pair, (np.array([2]), np.ones((1, 2))))
    np.testing.assert_array_equal(seen["0"], [[0, 0, 1]])


def test_categories_are_one_hot_counted_from_where_they_start():
    space = spaces.Discrete(3, start=-1)
    np.testing.assert_array_equal(to_observation(space, np.array([-1, 1])), np.eye(3)[[0, 2]])
    both = spaces.MultiDiscrete([2, 3])
    np.testing.assert_array_equal(to_observation(both, np.array([1, 2])), [0, 1, 0, 0, 1])


def test_channels_come_last_and_nothing_is_shared():
    space = spaces.Box(0, 255, (2, 5, 4), np.uint8)
    frames = np.arange(40, dtype=np.uint8).reshape(1, 2, 5, 4)
    seen = to_observation(space, frames)
    assert seen[0, 3, 1, 1] == frames[0, 1, 3, 1]
    own = np.zeros((1, 2), np.float32)
    assert not np.shares_memory(to_observation(spaces.Box(-1, 1, (2,)), own), own)


@pytest.mark.parametrize(
    ("space", "ours", "done", "told"),
    [
        (BOUNDED, Box(2, (-1.0, 0.0), (1.0, 5.0), ("action 0", "action 1")),
         np.array([[0.5, 9.0]], np.float32), [[0.5, 5.0]]),
        (spaces.Discrete(2, start=7), Discrete(2, ("action 0", "action 1")),
         np.array([1, 0]), [8, 7]),
        (spaces.MultiDiscrete([2, 3], start=[1, 5]),
         MultiDiscrete((2, 3), ("action 0", "action 1")),
         np.array([[1, 2]]), [[2, 7]]),
        (spaces.MultiBinary(2), MultiBinary(2, ("switch 0", "switch 1")),
         np.array([[1, 0]]), [[1, 0]]),
    ],
)  # fmt: skip
def test_what_can_be_done(space, ours, done, told):
    assert action_space(space) == ours
    found = to_action(space, done)
    np.testing.assert_array_equal(found, told)
    assert all(space.contains(action) for action in found)


@pytest.mark.parametrize(
    ("convert", "space", "message"),
    [
        (action_space, spaces.Box(-np.inf, 1, (2,)), "have no bounds"),
        (action_space, spaces.Dict(a=BOUNDED), "not supported"),
        (observation_space, spaces.Text(5), "not supported"),
    ],
)
def test_what_no_network_fits_is_refused(convert, space, message):
    with pytest.raises(SimulatorError, match=message):
        convert(space)
