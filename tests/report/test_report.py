"""The page holds what it was given, all of it and nothing else, and is whole or not there."""

import os
import re
from html.parser import HTMLParser

import pytest

from metarlhf.report import write_report
from metarlhf.report.html import render
from tests.report.made_up import family_result, pictures, results

VOID = {"meta", "br", "img", "link", "input", "hr"}
NAVIGATION = "navigation/finn2017"


class Page(HTMLParser):
    """Tags in order, identifiers, text; and whether what was opened was closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links, self.open, self.text = [], [], [], [], ""
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [v for k, v in attrs.items() if k in ("href", "xlink:href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "text"):
            self.text += " " + data

    def words(self):
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def page():
    return Page(
        render(
            results(family_result(), family_result("reacher", varies="target position")),
            {NAVIGATION: pictures(questions=4), "reacher": pictures("reacher", questions=2)},
        )
    )


def test_holds_the_figures_it_was_given(page):
    words = page.words()
    for figure in (
        "Ten answers were enough for 93 % of what the true reward teaches.",
        "at least 17 times as many answers and 64 times as many environment steps",
        "93 % (91 to 95 %)",
        "at least 17×",
        "64×",
        "3.1 s",
        "2 000",
        "1 min 1 s",
        "2 min 23 s",
        "−52",
        "−2.4",
        "89 %",
        "102 %",
        "jax 0.10.0",
        "goal position (2 numbers)",
        "target position",
        "40 of navigation/finn2017, 40 of reacher",
        "the goal, which no agent is told",
        "the target, which no agent is told",
    ):
        assert figure in words


def test_curves_are_also_tables(page):
    rows = re.findall(r"128 000 93 % (\d+) % to (\d+) %", page.words())
    assert rows == [("92", "94")] * 2


def test_every_picture_says_what_it_shows(page):
    pictured = [attrs for tag, attrs in page.tags if tag == "svg"]
    # Two curves, all tasks and meta-training, three examples and a map for each family; questions.
    assert len(pictured) == 2 * (4 + 4) + 4 + 2
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 15 for attrs in pictured)
    labels = [attrs["aria-label"] for attrs in pictured]
    assert "Question 2. The answer: right." in labels
    assert any("(the worst of 40: 89 %)" in label.replace("\xa0", " ") for label in labels)


def test_asks_the_network_for_nothing(page):
    html = render(results(), {NAVIGATION: pictures(questions=1)})
    assert "http" not in html
    assert "@import" not in html
    assert "<script" not in html
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not re.search(r"url\((?!#)", html)


def test_identifiers_are_unique_and_found(page):
    assert len(page.ids) == len(set(page.ids))
    wanted = {link[1:] for link in page.links if link.startswith("#")}
    assert wanted <= set(page.ids)


def test_follows_the_reader_in_light_and_dark():
    html = render(results(), {NAVIGATION: pictures(questions=1)})
    assert "prefers-color-scheme: dark" in html
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    for role in ("ink", "first", "second"):
        assert f"var(--{role})" in drawn
    fixed = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawn))
    assert not fixed, "a colour that one of the two schemes cannot change"


@pytest.mark.parametrize("background", ["light", "dark"])
def test_colours_have_contrast(background):
    """At least 4.5 to 1 on paper, as WCAG 2.1 (1.4.3) asks of text."""
    from metarlhf.report import style

    palette = {"light": style.LIGHT, "dark": style.DARK}[background]

    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    paper = luminance(palette.paper)
    for colour in palette[1:]:
        dim, bright = sorted((paper, luminance(colour)))
        assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_escapes_names():
    family = family_result("<b>mine</b>", varies="<script>alert('x')</script> & \"more\"")
    html = render(results(family), {})
    assert "<script" not in html
    assert "<b>" not in html
    words = Page(html).words()
    assert "<b>mine</b>" in words
    assert "<script>alert('x')</script> & \"more\"" in words


def test_says_what_was_not_measured():
    left_out = dict.fromkeys(
        ("scratch_labels_ratio", "scratch_steps_ratio", "seconds", "steps", "oracle_return")
    )
    words = Page(render(results(family_result(**left_out)), {})).words()
    assert words.count("not measured") == 3 + 5
    assert "from scratch took" not in words
    assert "None" not in words


def test_it_says_when_nothing_adapts_and_when_there_is_little_to_compare_with():
    poor = {
        "gain": {"mean": 0.01, "low": -0.02, "high": 0.04}, "oracle_hardly_learns": True,
        "untrained_spread": 90.0,
    }  # fmt: skip
    words = Page(render(results(family_result(**poor)), {})).words()
    assert "Nothing adapts: that is +1 % on what" in words
    assert "The oracle hardly learns here" in words
    words = Page(render(results(), {})).words()
    assert "Nothing adapts" not in words
    assert "hardly learns" not in words


def test_a_single_point_is_not_drawn_as_a_curve():
    once = {"steps": [0.0], "mean": [0.9], "low": [0.8], "high": [1.0]}
    alone = {"scratch_by_labels": None, "scratch_by_steps": None, "prior_by_steps": once}
    page = Page(render(results(family_result(**alone)), {}))
    labels = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert [label for label in labels if "number of environment steps" in label] == []
    assert len([label for label in labels if "number of answers" in label]) == 1
    assert "beside learning from scratch" not in page.words()
    assert "beside learning from scratch" in Page(render(results(), {})).words()


def test_a_family_with_nothing_but_what_is_required():
    whole = family_result()
    kept = ("family", "varies", "labels", "feedback", "num_tasks", "normalised_return")
    page = Page(render(results({key: whole[key] for key in kept}), {}))
    assert "93 % (91 to 95 %)" in page.words()
    assert not [tag for tag, _ in page.tags if tag == "svg"]


def test_ratings_show_their_marks():
    html = render(
        results(family_result("cartpole", feedback="ratings")),
        {"cartpole": pictures("cartpole", questions=3, ratings=True)},
    )
    words = Page(html).words()
    assert "after 10 ratings" in words
    assert "3. marked 3" in words
    assert "mark: 3" in html


def test_same_results_same_page():
    one, two = (render(results(), {NAVIGATION: pictures(questions=1)}) for _ in range(2))
    assert one == two


def test_a_failing_write_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report(path, results(), {})
    before = path.read_bytes()

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(path, results(family_result("other")), {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"per_task": [0.5, float("nan")]}, "per_task of .* not finite"),
        ({"normalised_return": {"mean": float("inf"), "low": 0, "high": 1}}, "normalised_return"),
        ({"by_labels": {"labels": [0, 1], "mean": [0], "low": [0], "high": [0]}}, "one length"),
        ({"prior_by_steps": {"labels": [0], "mean": [0], "low": [0], "high": [0]}}, "'steps': 0"),
    ],
)
def test_refuses_results_that_would_draw_nonsense(change, message):
    with pytest.raises(ValueError, match=message):
        render(results(family_result(**change)), {})


def test_refuses_results_without_what_is_required():
    family = family_result()
    del family["num_tasks"]
    with pytest.raises(ValueError, match=r"navigation/finn2017 lack num_tasks"):
        render(results(family), {})
    with pytest.raises(ValueError, match="lack families"):
        render(results() | {"families": []}, {})


def test_refuses_a_trajectory_of_another_family():
    swapped = pictures("reacher")._replace(family=pictures().family)
    with pytest.raises(ValueError, match="expected one trajectory of navigation"):
        render(results(), {NAVIGATION: swapped})
