"""Bad input: one clear message, exit status 2, no traceback, nothing lost."""

import shutil
import subprocess
import sys

import pytest

from metarlhf.cli import main
from metarlhf.runs import RunDirectory
from tests.cli.tiny import JOINT, PPO, meta_train


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meta") / "run"
    assert meta_train(folder) == 0
    return folder / "prior"


def said(capsys, argv):
    """What a refused command says."""
    try:
        status = main(argv)
    except SystemExit as error:  # tyro's own
        status = error.code
    assert status == 2
    output = capsys.readouterr().err
    assert "Traceback" not in output
    return " ".join(output.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "commands:"),
        (["trian"], "there is no command 'trian'"),
        (["ppo", "cartpol"], "Did you mean 'cartpole'?"),
        (["ppo", "cartpole", "--config.total-steps=-5"], "total_steps must be at least 1"),
        (["ppo", "cartpole", "--config.lr=fast"], "fast"),
        (["ppo", "cartpole", "--config.total-stepz=5"], "--config.total-steps"),
        (["ppo", "cartpole", "--seed=-1"], "seed must be from 0"),
        (["rlhf", "navigation", "--config.labels=-1"], "labels must be 0 or more"),
        (["meta-train", "navigation", "--config.iterations=0"], "iterations must be at least 1"),
        (["meta-train", "navigation", "--config.tasks=99999"], "tasks must be 1 to 2048"),
        (["demo", "--scratch-tasks=99"], "scratch_tasks must be from 0 to tasks"),
        (["adapt"], "which prior?"),
        (["adapt", "/nowhere"], "there is no /nowhere/description.json"),
        (["evaluate", "/nowhere"], "there is no /nowhere/description.json"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(capsys, argv, message, tmp_path):
    where = ["--run-dir", str(tmp_path / "run")] if len(argv) > 1 else []
    assert message in said(capsys, [*argv, *where])


def test_a_negative_task_number_is_refused(capsys, prior, tmp_path):
    command = ["adapt", str(prior), "--number=-1", "--run-dir", str(tmp_path / "run")]
    assert "--number must be 0 or more" in said(capsys, command)


def test_a_prior_for_another_family_is_refused(capsys, prior):
    for command in ("adapt", "evaluate"):
        message = said(capsys, [command, str(prior), "--task", "reacher"])
        assert "meta-trained on 'navigation/finn2017', not on 'reacher'" in message


@pytest.mark.parametrize("damage", ["truncated", "tampered", "described", "gone"])
def test_a_damaged_prior_is_refused(capsys, prior, tmp_path, damage):
    folder = shutil.copytree(prior, tmp_path / "prior")
    weights, description = folder / "weights.safetensors", folder / "description.json"
    content = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "tampered":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "described":
        description.write_text(description.read_text()[:50])
    else:
        weights.unlink()
    assert str(folder) in said(capsys, ["adapt", str(folder)])


def test_a_run_directory_in_use_or_used_is_refused(capsys, tmp_path):
    used = RunDirectory(tmp_path / "run", {})
    command = ["ppo", "cartpole", *PPO, "--run-dir", str(tmp_path / "run")]
    assert "is in use by process" in said(capsys, [*command, "--resume"])
    used.close()
    assert "holds a run already" in said(capsys, command)
    assert "another configuration" in said(capsys, [*command, "--resume"])


def test_a_run_directory_that_is_a_file_is_refused(capsys, tmp_path):
    (tmp_path / "run").write_text("a letter")
    command = ["ppo", "cartpole", "--run-dir", str(tmp_path / "run")]
    assert "is a file" in said(capsys, command)
    assert (tmp_path / "run").read_text() == "a letter"


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path):
    """A limit on the size of files stands in for the disk's: the system refuses to write alike."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "metarlhf", "meta-train", "navigation", *JOINT]
    finished = subprocess.run(
        ["sh", "-c", 'ulimit -f 24; exec "$@"', "sh", *command, "--run-dir", str(run)],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2, finished.stderr
    assert "the disk is full" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert (run / "config.json").exists()
    # With room again, the same command goes on.
    resumed = subprocess.run(
        [*command, "--run-dir", str(run), "--resume"], capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
