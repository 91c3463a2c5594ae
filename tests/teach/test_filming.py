"""Films are made of what was asked about, from the labels alone."""

import io
from contextlib import closing

import av
import numpy as np
import pytest
from sqlalchemy import select

from metarlhf.envs import connect, film
from metarlhf.envs.adapters.replays import Remembered
from metarlhf.teach import Clip, NewQuestion, questions, tables
from metarlhf.teach.films import film_of, make_next

WALK = "tests.envs.walking:Walking-v0"


@pytest.fixture
def clips():
    """Three clips of one environment, as a loop would ask about them."""
    with closing(connect(WALK, 1, seeded=True)) as env:
        remembered = Remembered(env)
        seen = [remembered.reset(3)[0]]
        for t in range(60):
            seen.append(remembered.step(np.full((1, 1), np.sin(t), np.float32)).obs[0])
        return [
            Clip(
                {"obs": np.stack(seen[t : t + 8]), "action": np.zeros((8, 1), np.float32)},
                {"film": True, "steps": 8, "words": ""},
                replay=remembered.replay(0, t, 8),
            )
            for t in (2, 27, 52)
        ]


def bright(made):
    """Where the point is in each frame: the mean column of what is bright."""
    with av.open(io.BytesIO(made)) as film:
        frames = [f.to_ndarray(format="gray") for f in film.decode(video=0)]
    return [np.nonzero(frame > 128)[1].mean() for frame in frames]


def test_each_clip_gets_the_film_of_what_was_done_in_it(database, run, clips):
    with database.write() as connection:
        questions.ask(connection, run, [NewQuestion(clips[0], clips[1], gain=1.0)])
        now = questions.keep(connection, run, clips[2])
    with closing(film(WALK)) as env:
        assert make_next(database, run, env)
        assert make_next(database, run, env)
        assert not make_next(database, run, env)  # nobody asks about the third
    with database.read() as connection:
        rows = list(connection.execute(select(tables.clips.c.film).order_by(tables.clips.c.id)))
    assert rows[2].film is None
    assert film_of(database, now, 0.0) is None
    for row, clip in zip(rows, clips[:2], strict=False):
        expected = 29.5 + 9 * clip.arrays["obs"][:, 0]
        np.testing.assert_allclose(bright(row.film), expected, atol=1.5)


def test_what_it_does_now_is_filmed_when_no_question_waits(database, run, clips):
    now = Clip(clips[0].arrays, clips[0].scene, source="now", replay=clips[0].replay)
    with database.write() as connection:
        number = questions.keep(connection, run, now)
    with closing(film(WALK)) as env:
        assert make_next(database, run, env)
    assert film_of(database, number, 0.0)


def test_a_film_of_something_else_is_not_shown(database, run, clips):
    clip = clips[0]
    other = Clip({**clip.arrays, "obs": clip.arrays["obs"] + 1}, clip.scene, replay=clip.replay)
    with database.write() as connection:
        questions.ask(connection, run, [NewQuestion(other, clips[1])])
    with closing(film(WALK)) as env:
        assert make_next(database, run, env)
        assert make_next(database, run, env)
        assert not make_next(database, run, env)  # it is not tried again
    with database.read() as connection:
        films = list(connection.execute(select(tables.clips.c.film)).scalars())
    assert sorted(map(bool, films)) == [False, True]


def test_what_was_taken_back_is_not_filmed(database, run, clips):
    with database.write() as connection:
        questions.ask(connection, run, [NewQuestion(clips[0], clips[1])])
        questions.withdraw(connection, run)
    with closing(film(WALK)) as env:
        assert not make_next(database, run, env)
