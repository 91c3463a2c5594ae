"""A film shows its frames, each at its step."""

import io

import av
import numpy as np
import pytest

from metarlhf.report.film import FORMATS, LONGEST, encode


def frames_of(made):
    with av.open(io.BytesIO(made)) as film:
        stream = film.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)], stream


@pytest.mark.parametrize("shape", [(32, 48), (33, 47), (480, 640), (1, 700)])
def test_every_frame_is_there_in_order(shape):
    grey = np.linspace(0, 255, 50).astype(np.uint8)
    made = encode(".mp4", (np.full((*shape, 3), level, np.uint8) for level in grey), 25.0)
    found, stream = frames_of(made)
    assert len(found) == 50
    assert float(stream.average_rate) == 25.0
    assert float(stream.duration * stream.time_base) == pytest.approx(2.0)
    np.testing.assert_allclose([frame.mean() for frame in found], grey, atol=4)
    height, width = found[0].shape[:2]
    assert max(height, width) <= LONGEST
    assert height % 2 == width % 2 == 0


def test_any_step_is_found_without_the_whole_film():
    made = encode(".mp4", (np.full((64, 64, 3), 5 * i, np.uint8) for i in range(50)), 30.0)
    with av.open(io.BytesIO(made)) as film:
        keys = [packet.is_keyframe for packet in film.demux(video=0) if packet.size]
    assert sum(keys) >= 6


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_a_film_of_nothing_is_refused(suffix):
    with pytest.raises(ValueError, match="at least one frame"):
        encode(suffix, [], 25.0)
