"""The loop of a long command: saved, continued to the same result, stopped when asked."""

import os
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarlhf.errors import Interrupted, UserError
from metarlhf.runs import RunDirectory, drive
from metarlhf.runs.progress import Progress
from metarlhf.training import Loop
from tests.full_disk import full_disk


def start():
    return {"key": jax.random.key(0), "sum": jnp.zeros(()), "none": jnp.zeros((0, 2))}


def step(state, done):
    key, draw = jax.random.split(state["key"])
    total = state["sum"] + jax.random.normal(draw)
    return state | {"key": key, "sum": total}, {"return": float(total)}


def run_to(path, total, step=step, saving=None, **options):
    run = RunDirectory(path, {}, resume=(path / "config.json").exists())
    try:
        return drive(
            run, "adding", Loop(start, step, total, **options), **(saving or {})
        ), run.metrics.rows
    finally:
        run.close()


def test_n_and_m_steps_are_n_plus_m_bit_for_bit(tmp_path):
    whole, rows = run_to(tmp_path / "whole", 7)
    run_to(tmp_path / "parts", 3)
    parts, parts_rows = run_to(tmp_path / "parts", 7)
    assert jnp.array_equal(whole["sum"], parts["sum"])
    assert jnp.array_equal(jax.random.key_data(whole["key"]), jax.random.key_data(parts["key"]))
    assert rows == parts_rows
    assert parts["none"].shape == (0, 2)


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(tmp_path):
    def pressed(state, done):
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(state, done)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="after 3 of 5; go on with the same command and --resume"):
        run_to(tmp_path, 5, pressed)
    resumed, rows = run_to(tmp_path, 5)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert jnp.array_equal(resumed["sum"], run_to(tmp_path.with_name("whole"), 5)[0]["sum"])
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("note", [0, 3000], ids=["checkpoint", "metrics"])
def test_a_full_disk_loses_nothing_that_was_written(tmp_path, note):
    def talkative(state, done):
        state, metrics = step(state, done)
        return state, metrics | {"note": "-" * note}

    run_to(tmp_path, 2, talkative)
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        run_to(tmp_path, 5, talkative)
    resumed, rows = run_to(tmp_path, 5, talkative)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert jnp.array_equal(resumed["sum"], run_to(tmp_path.with_name("whole"), 5)[0]["sum"])


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    run_to(tmp_path, 4, saving={"save_seconds": 0.0})
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]
    for file in (tmp_path / "checkpoints" / "4").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    run_to(tmp_path, 4)
    # What was done again is saved again: nothing is done a third time.
    with RunDirectory(tmp_path, {}, resume=True) as run:
        found = run.checkpoints.restore(start())
    assert found is not None
    assert found[0] == 4
    resumed, rows = run_to(tmp_path, 6)
    assert jnp.array_equal(resumed["sum"], run_to(tmp_path.with_name("whole"), 6)[0]["sum"])
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_when_no_checkpoint_can_be_read_that_is_said(tmp_path):
    run_to(tmp_path, 2)
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "default")
    with pytest.raises(UserError, match=r"no checkpoint in .* can be read"):
        run_to(tmp_path, 3)


def test_it_stops_when_the_metrics_say_so(tmp_path, capsys):
    _, rows = run_to(tmp_path, 9, stop=lambda rows: len(rows) == 4)
    assert len(rows) == 4
    assert "adding: ended after 4 of 9" in capsys.readouterr().err


def test_what_remains_is_told_without_the_compilation(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Progress("training", 10) as progress:
        for done, seconds in enumerate((60.0, 2.0, 2.0, 3.0), start=1):
            clock[0] += seconds
            progress.show(done, {"return": 1.0})
        assert progress.remaining(4) == pytest.approx(6 * 2.0)
    assert np.isfinite(progress.remaining(10))


def test_what_is_no_number_stops_the_run_and_the_last_good_state_is_kept(tmp_path):
    def spoilt(state, done):
        state, metrics = step(state, done)
        if done == 3:
            state = state | {"sum": state["sum"] * jnp.nan}
        return state, metrics | {"steps": 100 * (done + 1)}

    expected = r"adding diverged: in step 4, at 400 environment steps, \['sum'\] is not a number"
    with pytest.raises(UserError, match=expected) as error:
        run_to(tmp_path / "spoilt", 6, spoilt)
    assert "after step 3, is in" in str(error.value)
    good, _ = run_to(tmp_path / "good", 3)
    kept, rows = run_to(tmp_path / "spoilt", 3)
    assert jnp.array_equal(kept["sum"], good["sum"])
    assert [row["step"] for row in rows] == [1, 2, 3]


def test_a_return_that_is_no_number_stops_the_run_too(tmp_path):
    lost = lambda state, done: (state, {"return": float("nan")})
    with pytest.raises(UserError, match="adding diverged: in step 1 the return is not a number"):
        run_to(tmp_path, 2, lost)
