"""Films of an agent at work, by PyAV: MP4 (H.264), or an animated GIF, PNG or WebP."""

import io
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

# Pixels of the longer side; what is larger is made smaller.
LONGEST = 320
# A picture that stands by itself comes so often in an MP4: a browser goes to any step at once.
KEY = 8
# A GIF counts in hundredths of a second, and browsers show what lasts only one ten times as long.
GIF_RATE = 50
# A palette for each picture, as a film may have more colours in all than a GIF's 256.
PALETTES = {"palettegen": "stats_mode=single:max_colors=128", "paletteuse": "new=1:dither=none"}


class _Format(NamedTuple):
    """What FFmpeg calls a format, and what the file and the codec are told."""

    container: str
    codec: str
    pixels: str
    file_options: dict[str, str]
    codec_options: dict[str, str]


FORMATS = {
    ".gif": _Format("gif", "gif", "pal8", {"loop": "0"}, {}),
    ".png": _Format("apng", "apng", "rgb24", {"plays": "0"}, {}),
    ".webp": _Format("webp", "libwebp_anim", "yuv420p", {"loop": "0"}, {"quality": "80"}),
    ".mp4": _Format(
        "mp4",
        "libx264",
        "yuv420p",
        {},
        # "bf": no picture refers to a later one.
        {"crf": "24", "preset": "veryfast", "bf": "0", "g": str(KEY), "threads": "1"},
    ),
}


class Film:
    """A film that is written frame by frame, so that only what is compressed fills the memory.

    Args:
        suffix: one of FORMATS.
        frames_per_second: of what comes. A GIF shows `GIF_RATE` at most: more are thinned out, and
            keep their pace.

    Raises:
        ImportError: PyAV is not installed.
    """

    def __init__(self, suffix: str, frames_per_second: float):
        import av

        self._format = FORMATS[suffix]
        rate = Fraction(frames_per_second).limit_denominator(1000)
        self._every = math.ceil(rate / GIF_RATE) if suffix == ".gif" else 1
        self._rate = rate / self._every
        self._file, self._count = io.BytesIO(), 0
        self._film = av.open(
            self._file, "w", format=self._format.container, options=self._format.file_options
        )
        self._stream: Any = None
        self._palettes: Any = None

    def add(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Show this frame next; all have the size of the first."""
        import av

        number, self._count = self._count, self._count + 1
        if number % self._every:
            return
        if self._stream is None:
            self._stream = self._begin(*frame.shape[:2])
        width, height = self._stream.width, self._stream.height
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._palettes is None:
            picture = picture.reformat(width, height, self._format.pixels)
        else:
            self._palettes.push(picture.reformat(width, height, "rgb24"))
            picture = self._palettes.pull()
        picture.pts, picture.time_base = number // self._every, 1 / self._rate
        self._film.mux(self._stream.encode(picture))

    def finish(self) -> bytes:
        """The whole film.

        Raises:
            ValueError: it has no frame.
        """
        if self._stream is None:
            raise ValueError("a film has at least one frame")
        self._film.mux(self._stream.encode())
        self._film.close()
        return self._file.getvalue()

    def _begin(self, height: int, width: int) -> Any:
        """The stream; the sides of H.264 are even numbers."""
        scale, even = min(1.0, LONGEST / max(height, width)), 1 + (self._format.codec == "libx264")
        stream: Any = self._film.add_stream(self._format.codec, rate=self._rate)
        stream.width, stream.height = (
            max(even, even * round(scale * side / even)) for side in (width, height)
        )
        stream.pix_fmt, stream.options = self._format.pixels, self._format.codec_options
        stream.time_base = 1 / self._rate
        if self._format.pixels == "pal8":
            self._palettes = _palettes(stream)
        return stream


def encode(
    suffix: str, frames: Iterable[UInt8[np.ndarray, "height width 3"]], frames_per_second: float
) -> bytes:
    """The frames as a film, each shown for as long.

    Args:
        suffix: one of FORMATS.
        frames: all of one size.
        frames_per_second: how fast they are shown.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: there is no frame.
    """
    film = Film(suffix, frames_per_second)
    for frame in frames:
        film.add(frame)
    return film.finish()


def _palettes(stream: Any) -> Any:
    """What finds for each picture the colours that it is shown in."""
    from av.filter import Graph

    graph: Any = Graph()
    source = graph.add_buffer(
        width=stream.width, height=stream.height, format="rgb24", time_base=stream.time_base
    )
    both, sink = graph.add("split"), graph.add("buffersink")
    make, use = (graph.add(name, options) for name, options in PALETTES.items())
    source.link_to(both)
    both.link_to(make, 0, 0)
    both.link_to(use, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
