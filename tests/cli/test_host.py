"""`meta-train` and `evaluate` on MuJoCo: real simulators, in processes of their own."""

import json
import signal
import sys

import pytest

from metarlhf.cli import main
from metarlhf.envs.adapters.mujoco_families import BODIES, RUNNERS
from metarlhf.envs.naming import HOST_FAMILIES
from metarlhf.meta import outer

SMALL = [
    "--policy.iterations=3", "--policy.meta-batch=2", "--policy.episodes=2",
    "--policy.epochs=1", "--policy.hidden", "8",
]  # fmt: skip


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_names_are_those_that_are_defined():
    assert sorted(HOST_FAMILIES) == sorted([*RUNNERS, *BODIES])


def test_a_prior_is_meta_trained_stopped_resumed_and_measured(tmp_path, capsys, monkeypatch):
    train = ["meta-train", "finn2017/HalfCheetahDir", *SMALL, "--json", "--run-dir"]
    assert main([*train, str(tmp_path / "straight")]) == 0
    straight = last_line(capsys)
    assert (straight["family"], straight["method"]) == ("finn2017/HalfCheetahDir", "promp")

    iterate, calls = outer.iterate, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C
        return iterate(*arguments)

    monkeypatch.setattr(outer, "iterate", stopped)
    assert main([*train, str(tmp_path / "stopped")]) == 130
    assert main([*train, str(tmp_path / "stopped"), "--resume"]) == 0
    assert len(calls) == 3
    assert last_line(capsys)["return"] == straight["return"]
    weights = [tmp_path / run / "prior" / "weights.safetensors" for run in ("straight", "stopped")]
    assert weights[0].read_bytes() == weights[1].read_bytes()

    prior = straight["prior"]
    measure = ["evaluate", prior, "--tasks=2", "--steps=1", "--run-dir", str(tmp_path / "m")]
    measure += ["--pretraining-steps=6400", "--oracle-steps=6400", "--oracle-tasks=1"]
    # The other is the same to the last bit.
    stopped = json.loads((tmp_path / "stopped" / "result.json").read_text())["prior"]
    assert main([*measure, "--also", stopped]) == 2
    assert "named twice" in capsys.readouterr().err
    assert main([*measure, "--json"]) == 0
    result = last_line(capsys)
    for curve in (result, result["starts"]["random"], result["starts"]["pretrained"]):
        assert (len(curve["returns"]), len(curve["gains"])) == (2, 1)
    assert result["starts"]["pretrained"]["step_sizes"][0] > 0
    gained = result["returns"][1]["mean"] - result["returns"][0]["mean"]
    assert result["gains"][0]["mean"] == pytest.approx(gained)
    assert "<svg" in (tmp_path / "m" / "returns.svg").read_text()
    assert main([*measure, "--json", "--resume"]) == 0
    assert last_line(capsys) == result
    adapt = ["adapt", prior, "--task=1", "--steps=2", "--run-dir", str(tmp_path / "one")]
    assert main([*adapt, "--json"]) == 0
    adapted = last_line(capsys)
    assert (adapted["task"], adapted["steps"]) == (1, 2 * 2 * 200)
    assert main(["play", str(tmp_path / "one"), "--episodes=2", "--json"]) == 0
    assert len(set(last_line(capsys)["returns"])) == 2
    assert main(["play", str(tmp_path / "one"), "--draw", "film.gif"]) == 2
    assert "do not draw" in capsys.readouterr().err
    assert main(["evaluate", prior, "--family", "finn2017/AntDir"]) == 2
    assert "meta-trained on 'finn2017/HalfCheetahDir'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "posterior"], "by gradients"),
        (["--reward", "teacher"], "no simulated teacher"),
    ],
)
def test_a_teacher_is_refused(tmp_path, capsys, words, message):
    command = ["meta-train", "finn2017/AntDir", *words, "--run-dir", str(tmp_path / "run")]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_other_commands_say_that_it_is_none_of_theirs(tmp_path, capsys):
    for command in ("ppo", "rlhf"):
        assert main([command, "finn2017/AntDir", "--run-dir", str(tmp_path / "run")]) == 2
        assert "metarlhf meta-train" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_without_mujoco_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    monkeypatch.setattr("metarlhf.envs.registry._made_hosts", {})
    for name in [name for name in sys.modules if name.startswith("metarlhf.envs.adapters.mujoco")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["meta-train", "finn2017/AntDir", "--run-dir", str(tmp_path / "run")]) == 2
    assert "pip install 'metarlhf[mujoco]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["tasks"]) == 0
    assert "come with the extra 'mujoco'" in capsys.readouterr().out


def test_guided_by_experts_that_are_made_once(tmp_path, capsys, monkeypatch):
    words = ["--method", "guided", "--policy.expert-steps=3200", *SMALL, "--json"]
    train = ["meta-train", "finn2017/HalfCheetahDir", *words, "--run-dir", str(tmp_path / "run")]
    iterate = outer.iterate

    def stopped(*arguments):
        signal.raise_signal(signal.SIGINT)  # Ctrl-C
        return iterate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(outer, "iterate", stopped)
        assert main(train) == 130
    made = sorted((tmp_path / "run" / "stages").iterdir())
    assert [path.name for path in made] == ["expert-0.safetensors", "expert-1.safetensors"]
    before = [path.stat().st_mtime_ns for path in made]
    assert main([*train, "--resume"]) == 0
    assert [path.stat().st_mtime_ns for path in made] == before
    assert last_line(capsys)["method"] == "guided"


def test_guided_meta_training_is_for_simulators(capsys):
    assert main(["meta-train", "navigation", "--method", "guided"]) == 2
    assert "choose another --method, such as promp" in capsys.readouterr().err
