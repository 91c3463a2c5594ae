"""Figures show the numbers they were given, at the places where those numbers are."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from metarlhf.report import figures, write_picture
from metarlhf.report.style import LIGHT, styled
from tests.report.made_up import episodes, family_result, pictures, results


@pytest.fixture
def axes():
    with styled(LIGHT):
        yield Figure().subplots()


@pytest.mark.parametrize(
    ("resource", "keys"),
    [
        ("labels", ("by_labels", "scratch_by_labels")),
        ("steps", ("prior_by_steps", "scratch_by_steps")),
    ],
)
def test_curves_go_through_the_means(axes, resource, keys):
    family = family_result()
    figures.draw_curves(axes, family, resource)
    lines = {line.get_label(): line for line in axes.get_lines()}
    for name, key in zip(("Meta-learned", "From scratch"), keys, strict=True):
        np.testing.assert_allclose(
            lines[name].get_xydata(), np.transpose([family[key][resource], family[key]["mean"]])
        )
    levels = [line.get_ydata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert levels == [1.0, 0.8]
    low, high = axes.get_ylim()
    assert low < min(family[keys[1]]["low"])
    assert high > 1.0
    assert axes.get_xlim()[1] > family[keys[1]][resource][-1]


def test_the_saving_spans_from_prior_to_scratch(axes):
    figures.draw_curves(axes, family_result(), "labels")
    words = [text.get_text() for text in axes.texts]
    assert "at least 17×" in words
    (arrow,) = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert (arrow.xyann, arrow.xy) == ((10, 0.93), (170.0, 0.93))


def test_what_leaves_the_axes_is_said(axes):
    deep = {"labels": [0, 10, 170], "mean": [0, -7.5, 1], "low": [0, -9, 1], "high": [0, -6, 1]}
    figures.draw_curves(axes, family_result(scratch_by_labels=deep), "labels")
    assert axes.get_ylim()[0] == -1
    (said,) = [text for text in axes.texts if text.get_text().startswith("\N{DOWNWARDS ARROW}")]
    assert "750" in said.get_text()
    assert said.xy == (10, -1)


def test_no_saving_without_a_ratio(axes):
    figures.draw_curves(axes, family_result(scratch_labels_ratio=None), "labels")
    assert [text.get_text() for text in axes.texts] == ["true reward", "target"]


def test_one_curve_alone_keeps_its_colour(axes):
    figures.draw_curves(axes, family_result(by_labels=None), "labels")
    (line,) = [line for line in axes.get_lines() if line.get_label() == "From scratch"]
    assert line.get_color() == "C1"


def test_axis_of_a_prior_that_was_measured_once(axes):
    once = {"labels": [10], "mean": [0.9], "low": [0.8], "high": [1.0]}
    figures.draw_curves(axes, family_result(by_labels=once, scratch_by_labels=None), "labels")
    assert axes.get_xlim()[1] > 10


def test_tasks_from_worst_to_best_with_the_shown_ringed(axes):
    family = family_result(per_task=[0.9, -0.2, 1.1])
    figures.draw_tasks(axes, family, marked=[1])
    _, dots, ring = axes.get_lines()
    np.testing.assert_allclose(dots.get_ydata(), [-0.2, 0.9, 1.1])
    np.testing.assert_allclose(ring.get_xydata(), [[0, -0.2]])
    assert axes.get_ylim()[0] < -0.2


def pixels(axes, x, y):
    return axes.transData.transform((x, y))


def test_nothing_is_drawn_over_the_curves_and_no_marker_is_cut(axes):
    family = family_result()
    figures.draw_curves(axes, family, "labels")
    axes.figure.draw_without_rendering()
    inside = axes.get_window_extent()
    assert axes.get_legend().get_window_extent().y0 >= inside.y1
    first, mean = (family["by_labels"][key][0] for key in ("labels", "mean"))
    assert pixels(axes, first, mean)[0] - inside.x0 > 3.5 / 72 * axes.figure.dpi


def test_rings_are_whole_however_far_down_the_worst_is(axes):
    figures.draw_tasks(axes, family_result(per_task=[-9.0, 0.3, 1.4]), marked=[0, 2])
    assert all(not ring.get_clip_on() for ring in axes.get_lines()[2:])
    inside = axes.get_window_extent()
    for x, y in ((0, -9.0), (2, 1.4)):
        at = pixels(axes, x, y)
        assert inside.y0 + 7 < at[1] < inside.y1 - 7


def test_the_preferred_clip_is_the_framed_one():
    family, task, first, second = episodes("navigation/finn2017")
    for preference, framed in ((0.0, [True, False]), (1.0, [False, True]), (0.5, [False, False])):
        question = figures.Question(first[:10], second[:10], preference)
        with styled(LIGHT):
            pair = Figure().subplots(1, 2)
            figures.draw_question(pair, family, task, question)
        strong = [axes.spines["left"].get_linewidth() > 2 for axes in pair]
        assert strong == framed
        assert ["better" in axes.get_title("left") for axes in pair] == framed


def test_before_and_after_are_seen_from_the_same_place():
    family, task, first, second = episodes("navigation/finn2017")
    with styled(LIGHT):
        pair = Figure().subplots(1, 2)
        figures.draw_before_after(pair, family, task, first, second, ("before", "after"))
    assert pair[0].get_xlim() == pair[1].get_xlim()
    assert pair[0].get_ylim() == pair[1].get_ylim()
    low, high = np.transpose([pair[0].get_xlim(), pair[0].get_ylim()])
    assert (np.concatenate([first, second]) > low).all()
    assert (np.concatenate([first, second]) < high).all()


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG\r\n"), (".svg", b"<?xml")])
@pytest.mark.parametrize("count", [1, 3])
def test_picture_for_a_readme(tmp_path, suffix, magic, count):
    families = [family_result(name) for name in ("navigation/finn2017", "<&$", "other")[:count]]
    path = write_picture(
        tmp_path / f"a{suffix}", results(*families), {"navigation/finn2017": pictures()}
    )
    assert path.read_bytes().startswith(magic)


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"not as '\.gif'"):
        write_picture(tmp_path / "a.gif", results(), {})
    assert not list(tmp_path.iterdir())
