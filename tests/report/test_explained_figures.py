"""Figures of an explanation: what is small is still seen, and a scale says what is how much."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from metarlhf.explain import Explanation, Feature
from metarlhf.explain.found import Episode, Importance
from metarlhf.report.explained_figures import draw_episode, parts_colours
from metarlhf.report.style import DARK, LIGHT, styled


def test_nothing_alone_is_see_through():
    colours = parts_colours()
    strength = lambda part: colours((part + 1) / 2)[3]  # of parts from -1 to 1
    assert strength(0.0) == 0.0
    for side in (1, -1):
        some = [strength(side * part) for part in (0.01, 0.05, 0.1, 0.38, 0.7, 1.0)]
        assert some == sorted(some)
        assert some[0] > 0.02
        assert some[2] > 0.2
        assert some[-1] == 1.0


def test_what_takes_has_another_colour_than_what_adds():
    takes, adds = (np.array(parts_colours()(x)[:3]) for x in (0.4, 0.6))
    assert takes[0] > takes[2]
    assert adds[2] > adds[0]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_an_episode_has_its_scale_beside_it(palette):
    parts = np.array([[0.01, -2.0], [0.02, 1.0], [0.0, 0.5]])
    blank = Explanation(**dict.fromkeys(Explanation._fields))
    found = blank._replace(
        features=(Feature("x", "", (0,)), Feature("y", "", (1,))),
        importance={"after": Importance(np.array([0.2, 0.8]), np.zeros(2))},
        episode=Episode(np.zeros((3, 2)), parts.sum(1), parts),
    )
    with styled(palette):
        figure = Figure(layout="constrained")
        draw_episode(figure.subplots(2, 1), found)
        figure.draw_without_rendering()
    _, below, bar = figure.axes
    (image,) = below.images
    np.testing.assert_allclose(image.get_array(), parts.T[::-1])  # what counts most is above
    assert image.get_clim() == (-2.0, 2.0)
    assert bar.get_ylabel() == "part of the reward"
    assert bar.get_ylim() == (-2.0, 2.0)
