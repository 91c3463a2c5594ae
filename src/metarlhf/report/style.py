"""One look for all pictures: on the page in the reader's own light or dark, in files in light.

Matplotlib is given colours that stand for roles; in a page's SVG they become CSS variables, so that
one drawing follows the page's colour scheme.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:  # Matplotlib and Jinja2 are imported when something is drawn, and not before.
    Axes = Figure = Markup = Any


class Palette(NamedTuple):
    """Colours by role. `first`: the agent, what is meta-learned; `second`: its target, scratch."""

    paper: str
    ink: str
    first: str
    second: str


LIGHT = Palette("#ffffff", "#1c1f24", "#0b62c4", "#b8460b")
DARK = Palette("#16191d", "#e7eaee", "#6db3ff", "#ffa566")
# Nobody's choice of colour, so that replacing them by their role is safe.
ROLES = Palette("#fe01fe", "#010203", "#010204", "#010205")
FONT_POINTS = 10.5


@contextmanager
def styled(palette: Palette) -> Iterator[None]:
    """Matplotlib's settings; draw *and* save within, as some colours are looked up late."""
    import matplotlib as mpl
    from cycler import cycler

    _, ink, first, second = palette
    settings: dict[str, Any] = {
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "axes.facecolor": "none",
        "axes.prop_cycle": cycler(color=[first, second]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.titlesize": FONT_POINTS,
        "axes.titlelocation": "left",
        "grid.alpha": 0.15,
        "grid.linewidth": 0.8,
        "font.size": FONT_POINTS,
        "legend.frameon": False,
        "legend.fontsize": FONT_POINTS - 1,
        "svg.fonttype": "none",
        "svg.hashsalt": "metarlhf",
    }
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "grid.color")
    inked += ("xtick.color", "ytick.color")
    with mpl.rc_context():
        # Nothing of the user's own `matplotlibrc`: a report looks the same everywhere.
        mpl.rcdefaults()
        rc: Any = settings | dict.fromkeys(inked, ink)
        mpl.rcParams.update(rc)
        yield


Draw = Callable[[Figure], None]


def page_svg(draw: Draw, size: tuple[float, float], name: str, alt: str) -> Markup:
    """An SVG element for an HTML page, `size` inches wide and high at most.

    `name` keeps its identifiers apart from those of the page's other pictures; `alt` is what it
    says, for those who cannot see it.
    """
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    with styled(ROLES):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        svg = _svg(figure)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'((?:xlink:href|href)="#|url\(#|\bid=")', rf"\g<1>{name}-", body)
    body = re.sub(r"font: ?([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for role, colour in zip(Palette._fields, ROLES, strict=True):
        body = body.replace(colour, f"var(--{role})")
    width, height = (72 * inches for inches in size)
    opening = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width: {size[0] * 96:.0f}px" '
        f'role="img" aria-label="{escape(alt)}">'
    )
    return Markup(opening + body)


def picture(draw: Draw, size: tuple[float, float], suffix: str, palette: Palette = LIGHT) -> bytes:
    """The content of an SVG or PNG file, on paper of its own."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with styled(palette):
        figure = Figure(figsize=size, layout="constrained", facecolor=palette.paper)
        draw(figure)
        if suffix == ".svg":
            mpl.rcParams["svg.fonttype"] = "path"
            return _svg(figure, facecolor=palette.paper).encode("utf-8")
        if suffix == ".png":
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=150, facecolor=palette.paper)
            return file.getvalue()
    raise ValueError(f"a picture can be written as .svg or .png, not as {suffix!r}")


def _svg(figure: Figure, **options: Any) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, **options)
    return file.getvalue()


def ink() -> Any:
    """The colour of text in the current style."""
    import matplotlib as mpl

    return mpl.rcParams["text.color"]


def percent_ticks(axis: Any) -> None:
    """Label the ticks of a Matplotlib axis, whose values are shares, in per cent."""
    axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def integer_ticks(axis: Any) -> None:
    """Put the ticks of a Matplotlib axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def render(template: str, **values: Any) -> str:
    """A page of `report/templates`; a name that it uses and is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("metarlhf.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(light=LIGHT, dark=DARK, **values)
