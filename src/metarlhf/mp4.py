"""Pictures as an MP4 film (H.264), which browsers of desktops and phones play."""

import io
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

# Pixels of the longer side; what is larger is made smaller.
LONGEST = 320
# A picture that stands by itself comes so often: a browser goes to any step at once.
KEY = 8


def encode(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], frames_per_second: float
) -> bytes:
    """The frames as a film, each shown for as long.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: there is no frame.
    """
    import av

    file, stream = io.BytesIO(), None
    rate = Fraction(frames_per_second).limit_denominator(1000)
    with av.open(file, "w", format="mp4") as film:
        for number, frame in enumerate(frames):
            if stream is None:
                stream = _stream(film, rate, *frame.shape[:2])
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(stream.width, stream.height, "yuv420p")
            picture.pts, picture.time_base = number, 1 / rate
            film.mux(stream.encode(picture))
        if stream is None:
            raise ValueError("a film has at least one frame")
        film.mux(stream.encode())
    return file.getvalue()


def _stream(film: Any, rate: Fraction, height: int, width: int) -> Any:
    """H.264 without pictures that refer to later ones; its sides are even numbers."""
    scale = min(1.0, LONGEST / max(height, width))
    stream = film.add_stream("libx264", rate=rate)
    stream.width, stream.height = (max(2, 2 * round(scale * side / 2)) for side in (width, height))
    stream.pix_fmt = "yuv420p"
    stream.time_base = 1 / rate
    stream.options = {"crf": "24", "preset": "veryfast", "bf": "0", "g": str(KEY), "threads": "1"}
    return stream
