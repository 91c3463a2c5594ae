"""Loggers: every row once, whatever happened in between."""

import struct

import jax.numpy as jnp
import pytest

from metarlhf.runs import Logger, RunDirectory, drive
from metarlhf.runs.metrics import JsonLines, MetricsLog
from metarlhf.training import Loop


class Told:
    """A logger that only remembers."""

    def __init__(self):
        self.calls = []

    def begin(self, rows):
        self.calls.append(("begin", [row["step"] for row in rows]))

    def log(self, row):
        self.calls.append(("log", row))

    def close(self):
        self.calls.append(("close",))


class PowerCutError(Exception):
    pass


def adding(fail_at=None):
    def step(state, done):
        if done == fail_at:
            raise PowerCutError
        return state + 1, {"return": float(done), "steps": 10 * (done + 1), "nothing": None}

    return step


def run_to(path, total, logger, fail_at=None, **options):
    resume = (path / "config.json").exists()
    with RunDirectory(path, {}, resume=resume) as run:
        run.metrics.follow(logger)
        drive(run, "adding", Loop(lambda: jnp.zeros(()), adding(fail_at), total), **options)
        return run.metrics.rows


def test_json_lines_and_ones_own_are_loggers(tmp_path):
    assert isinstance(Told(), Logger)
    assert isinstance(JsonLines(tmp_path / "x"), Logger)


def test_a_logger_is_told_where_a_run_goes_on_and_every_row_after(tmp_path):
    first, second = Told(), Told()
    run_to(tmp_path, 2, first)
    with pytest.raises(PowerCutError):
        run_to(tmp_path, 9, Told(), fail_at=4)
    rows = run_to(tmp_path, 5, second)
    assert first.calls[0] == ("begin", [])
    assert first.calls[-1] == ("close",)
    assert second.calls[0] == ("begin", [1, 2])
    assert second.calls[1:-1] == [("log", row) for row in rows[2:]]


def test_what_a_logger_does_with_its_row_changes_no_other(tmp_path):
    class Greedy(Told):
        def log(self, row):
            row.clear()

    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.follow(Greedy())
    log.rewind(0)
    log.append(1, {"return": 1.0})
    assert log.rows == [{"step": 1, "return": 1.0}]


# What follows reads event files by their format alone, in the order in which they were written.
def events(folder):
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    assert found[0].file_version == "brain.Event:2"
    return found[1:]


def returns(folder):
    """By step; each once."""
    pairs = [(e.step, v.simple_value) for e in events(folder) for v in e.summary.value]
    assert len(pairs) == len(set(pairs)) == len(events(folder))
    return pairs


def tensorboard(path, **options):
    pytest.importorskip("tensorboardX", exc_type=ImportError)
    from metarlhf.runs import TensorBoard

    return TensorBoard(path / "tensorboard", **options)


def test_tensorboard_goes_on_without_a_step_twice_or_missing(tmp_path):
    run_to(tmp_path, 3, tensorboard(tmp_path, by="steps"))
    folder = tmp_path / "tensorboard"
    times = [event.wall_time for event in events(folder)]
    assert returns(folder) == [(10, 0.0), (20, 1.0), (30, 2.0)]
    with pytest.raises(PowerCutError):
        run_to(tmp_path, 9, tensorboard(tmp_path, by="steps"), fail_at=5)
    assert len(returns(folder)) == 5
    run_to(tmp_path, 5, tensorboard(tmp_path, by="steps"))
    assert returns(folder) == [(10 * (i + 1), float(i)) for i in range(5)]
    assert [event.wall_time for event in events(folder)][:3] == times


@pytest.mark.parametrize("left", [0, 1, 13, 60, 90])
def test_an_event_file_that_a_kill_cut_short_is_made_whole(tmp_path, left):
    run_to(tmp_path, 3, tensorboard(tmp_path))
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:left] + bytes(left % 3))
    run_to(tmp_path, 4, tensorboard(tmp_path))
    steps = [step for step, _ in sorted(_scalars(tmp_path / "tensorboard", "return"))]
    assert steps == [1, 2, 3, 4]


def _scalars(folder, name):
    return [
        (e.step, v.simple_value) for e in events(folder) for v in e.summary.value if v.tag == name
    ]


def test_tensorboard_chosen_later_gets_the_steps_before_too(tmp_path):
    run_to(tmp_path, 2, Told())
    run_to(tmp_path, 3, tensorboard(tmp_path))
    assert _scalars(tmp_path / "tensorboard", "return") == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert _scalars(tmp_path / "tensorboard", "steps") == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_tensorboard_takes_lists_number_by_number(tmp_path):
    logger = tensorboard(tmp_path)
    logger.begin([])
    logger.log({"step": 1, "returns": [1.5, None, 2.5], "lost": None, "why": "so"})
    logger.close()
    (event,) = events(tmp_path / "tensorboard")
    assert [(v.tag, v.simple_value) for v in event.summary.value] == [
        ("returns/0", 1.5),
        ("returns/2", 2.5),
    ]
