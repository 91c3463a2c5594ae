"""`--log`: where metrics go besides, and what is said where that cannot be."""

import json
import sys

import pytest

from metarlhf.cli import main
from tests.cli.tiny import PPO

MINE = """
class Mine:
    def __init__(self, run_dir):
        self.path = run_dir / "mine.txt"
        self.path.touch()  # It has its directory from the very beginning.
    def begin(self, rows):
        self.path.write_text("")
    def log(self, row):
        with self.path.open("a") as file:
            print(row["step"], file=file)
    def close(self):
        pass

nothing = lambda run_dir: None
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    (tmp_path / "my_logger.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return ["ppo", "cartpole", *PPO, "--run-dir", str(tmp_path / "run")]


def test_a_logger_of_ones_own_gets_every_row(command, tmp_path):
    assert main([*command, "--log=my_logger:Mine"]) == 0
    assert (tmp_path / "run" / "mine.txt").read_text().split() == list("12345")
    assert "log" not in json.loads((tmp_path / "run" / "config.json").read_text())
    # Shown again with another, as that does not decide what the run does.
    assert main([*command, "--resume"]) == 0


def test_tensorboard_gets_every_row_over_environment_steps(command, tmp_path):
    pytest.importorskip("tensorboardX", exc_type=ImportError)
    from tests.runs.test_loggers import events

    assert main([*command, "--log", "tensorboard"]) == 0
    found = events(tmp_path / "run" / "tensorboard")
    assert [event.step for event in found] == [80, 160, 240, 320, 400]
    assert {"return", "kl", "value_loss"} <= {value.tag for value in found[0].summary.value}


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("tensorbord", "no logger is called 'tensorbord'"),
        ("nowhere_to_be_found:Mine", "there is no module 'nowhere_to_be_found'"),
        ("my_logger:Yours", "has no 'Yours' for --log"),
        ("my_logger:nothing", "makes no logger"),
    ],
)
def test_what_is_no_logger_is_refused(command, capsys, tmp_path, log, message):
    assert main([*command, "--log", log]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_without_tensorboardx_the_extra_is_named(command, capsys, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert main([*command, "--log=tensorboard"]) == 2
    assert "pip install 'metarlhf[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
