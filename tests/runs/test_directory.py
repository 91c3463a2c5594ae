"""A run's directory: one user at a time, nothing lost, nothing begun twice."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from metarlhf.errors import UserError
from metarlhf.runs import RunDirectory
from metarlhf.runs.metrics import MetricsLog

CONFIG = {"lr": 0.1, "ppo": {"epochs": 4}}


def test_a_run_is_not_begun_twice_but_resumed(tmp_path):
    RunDirectory(tmp_path / "run", CONFIG).close()
    with pytest.raises(UserError, match="--resume, or name another --run-dir"):
        RunDirectory(tmp_path / "run", CONFIG)
    RunDirectory(tmp_path / "run", CONFIG, resume=True).close()


def test_another_configuration_is_refused_and_named(tmp_path):
    RunDirectory(tmp_path, CONFIG).close()
    other = {"lr": 0.1, "ppo": {"epochs": 5}}
    with pytest.raises(UserError, match=r"ppo\.epochs was 4, is 5"):
        RunDirectory(tmp_path, other, resume=True)
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_a_run_of_another_command_is_refused_in_one_short_line(tmp_path):
    RunDirectory(tmp_path, CONFIG).close()
    with pytest.raises(UserError, match=r"another command.* \(optimiser, ppo\)"):
        RunDirectory(tmp_path, {"lr": 0.1, "optimiser": "adam"}, resume=True)
    many = {"lr": 0.1, "ppo": {f"option_{i}": i for i in range(30)}}
    with pytest.raises(UserError, match="and 26 more") as error:
        RunDirectory(tmp_path, many, resume=True)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


def test_a_run_tells_how_long_it_took_over_all_sittings(tmp_path):
    for _ in range(3):
        with RunDirectory(tmp_path, CONFIG, resume=True) as run:
            run.keep("waited", lambda: time.sleep(0.05) or {})
            run.save(1, {"x": np.ones(1)})
            last = run.seconds
    assert last > 0.05
    with RunDirectory(tmp_path, CONFIG, resume=True) as run:
        run.keep("again", lambda: time.sleep(0.05) or {})
        run.finish({"seconds": run.seconds})
        assert run.seconds > last + 0.04
    with RunDirectory(tmp_path, CONFIG, resume=True) as run:  # looked at
        run.keep("again", dict)
        assert run.seconds < json.loads((tmp_path / "clock.json").read_text())["seconds"] + 0.5
    (tmp_path / "clock.json").write_text("[]")
    with RunDirectory(tmp_path, CONFIG, resume=True) as run:
        assert run.seconds < last


def test_a_directory_in_use_by_another_process_is_refused(tmp_path):
    code = (
        "import sys; from pathlib import Path; from metarlhf.runs import RunDirectory;"
        "run = RunDirectory(Path(sys.argv[1]), {}); print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(UserError, match=f"in use by process {other.pid}"):
            RunDirectory(tmp_path, {}, resume=True)
        other.kill()
    # A kill leaves no stale lock.
    RunDirectory(tmp_path, {}, resume=True).close()


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        RunDirectory(tmp_path, CONFIG)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_what_a_kill_left_half_written_is_in_nobodys_way(tmp_path):
    (tmp_path / ".config.json.4711.tmp").write_text('{"lr"')
    RunDirectory(tmp_path, CONFIG, resume=True).close()
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


def test_a_stage_is_computed_once_and_again_only_when_damaged(tmp_path):
    run, calls = RunDirectory(tmp_path, CONFIG), []

    def make():
        calls.append(1)
        # Transposed: what is written is contiguous, and no number becomes a list of one.
        return {"a": np.arange(6.0).reshape(2, 3).T, "none": np.zeros((2, 0)), "one": np.array(2.5)}

    for _ in range(2):
        kept = run.keep("x", make)
        np.testing.assert_array_equal(kept["a"], [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
        assert float(kept["one"]) == 2.5
    assert len(calls) == 1
    path = tmp_path / "stages" / "x.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    assert run.keep("x", make)["none"].shape == (2, 0)
    assert len(calls) == 2


def test_a_result_survives_as_it_was_written(tmp_path):
    run = RunDirectory(tmp_path, CONFIG)
    assert run.result is None
    written = run.finish({"return": np.float32(0.5), "curve": np.ones(2)})
    assert run.result == written == {"return": 0.5, "curve": [1.0, 1.0]}


@pytest.mark.parametrize("tail", ['{"step": 3, "ret', "\x00\x00", "[1]\n"])
def test_metrics_forget_what_a_kill_cut_short_and_what_comes_again(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in (1, 2, 3):
        log.append(step, {"return": float(step), "loss": float("nan")})
    with path.open("a") as file:
        file.write(tail)
    again = MetricsLog(path)
    again.rewind(2)
    again.append(3, {"return": 3.5})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[-1] == {"step": 3, "return": 3.5}
    assert rows[0]["loss"] is None
