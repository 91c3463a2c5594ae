"""Films of an agent at work: an animated GIF, PNG or WebP, which every browser shows."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from metarlhf.files import write_bytes

FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}
# Pixels of the longer side; what is larger is made smaller.
LONGEST = 320
# A GIF counts in hundredths of a second, and browsers show what lasts only one ten times as long.
SHORTEST = 20


def small(frame: UInt8[np.ndarray, "height width 3"]) -> Image.Image:
    """The frame in few colours and no larger than a film shows it: a tenth of the memory."""
    image = Image.fromarray(frame)
    image.thumbnail((LONGEST, LONGEST))
    return image.quantize(128, dither=Image.Dither.NONE)


def write_film(path: Path, frames: Sequence[Image.Image], frames_per_second: float) -> Path:
    """Write frames, as `small` makes them, into a file whose suffix is one of FORMATS.

    More of them a second than can be shown are thinned out, and keep their pace.
    """
    every = int(np.ceil(SHORTEST * frames_per_second / 1000))
    milliseconds = max(SHORTEST, round(1000 * every / frames_per_second / 10) * 10)
    shown = frames[::every]
    file = io.BytesIO()
    form = FORMATS[path.suffix]
    shown = shown if form == "GIF" else [frame.convert("RGB") for frame in shown]
    shown[0].save(file, form, save_all=True, append_images=shown[1:], duration=milliseconds, loop=0)
    write_bytes(path, file.getvalue())
    return path
