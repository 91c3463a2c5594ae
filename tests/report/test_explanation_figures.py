"""Figures of an explanation: what is small is still seen, and a scale says what is how much."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from metarlhf.explain import Episode, Explanation, Feature, Importance
from metarlhf.explain.additive import fit_additive, refine
from metarlhf.report.explanation_figures import draw_episode, draw_shape, parts_colours
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


def test_a_map_of_two_features_is_blank_where_nothing_was_seen_and_has_ticks_on_both_axes():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 2))
    x = x[(x[:, 0] < 0) | (x[:, 1] < 0)]  # a corner that nothing was seen of
    one, two = Feature("x", "", (0,)), Feature("y", "", (1,))
    found = fit_additive(x, x[:, 0] * x[:, 1], [one, two])
    (shape,) = found.shapes
    # But for what is next to where something was.
    corner = np.ix_(*(refine(knots)[:-1] > 0.2 for knots in shape.knots))
    assert not shape.observed[corner].any()
    assert shape.observed.sum() > shape.observed.size / 2
    with styled(LIGHT):
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        draw_shape(axes, shape, (-1.0, 1.0))
        figure.draw_without_rendering()
    values = np.ma.masked_invalid(axes.collections[0].get_array())
    assert 0.05 < np.ma.getmaskarray(values).mean() < 0.5
    # Drawn where it belongs: x to the right, y upwards, what is between knots in between.
    edges = axes.collections[0].get_coordinates()
    middle = (edges[1:, 1:] + edges[:-1, :-1]).reshape(-1, 2) / 2
    held = ~np.ma.getmaskarray(values).ravel()
    mean = np.mean(x[:, 0] * x[:, 1])
    spread = np.std(x[:, 0] * x[:, 1])
    true = (middle.prod(-1) - mean) / spread
    assert np.corrcoef(values.ravel()[held], true[held])[0, 1] > 0.99
    assert [line.get_marker() for line in axes.lines] == ["|", "_"]
