"""Returns by gradient steps are drawn with their names, or nothing is written."""

import pytest
from matplotlib.axes import Axes

from metarlhf.report import write_returns


def curve(values):
    return [{"mean": v, "low": v - 1.0, "high": v + 1.0} for v in values]


CURVES = {"meta-learned": curve([0.0, 5.0, 6.0]), "random start": curve([-1.0, 0.0, 0.0])}


@pytest.mark.parametrize(("suffix", "begins"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_a_picture_is_written(tmp_path, suffix, begins):
    path = write_returns(tmp_path / f"returns{suffix}", CURVES)
    assert path.read_bytes().startswith(begins)


def test_each_curve_has_its_points_and_its_name(monkeypatch, tmp_path):
    drawn = []
    plot = Axes.plot

    def kept(axes, x, y, **style):
        drawn.append((style["label"], list(x), list(y)))
        return plot(axes, x, y, **style)

    monkeypatch.setattr(Axes, "plot", kept)
    write_returns(tmp_path / "returns.svg", CURVES)
    assert drawn == [
        ("meta-learned", [0, 1, 2], [0.0, 5.0, 6.0]),
        ("random start", [0, 1, 2], [-1.0, 0.0, 0.0]),
    ]


def test_another_suffix_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"\.svg or \.png, not as '\.pdf'"):
        write_returns(tmp_path / "returns.pdf", CURVES)
    assert list(tmp_path.iterdir()) == []
