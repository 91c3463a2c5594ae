"""`metarlhf ppo --env`: simulators of others, and what is said where there is none."""

import importlib
import json
import signal
import sys

import pytest

from metarlhf.cli import main
from tests.cli.tiny import PPO

# The module: the package exports a function of its name.
ppo_train = importlib.import_module("metarlhf.ppo.train")
COUNTING = "tests.envs.counting:Counting-v0"
TINY = [*PPO, "--epochs=1", "--minibatches=2"]


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("env", ["CartPole-v1", "gymnax:CartPole-v1", COUNTING])
def test_ppo_trains_in_a_simulator(tmp_path, capsys, env):
    run = tmp_path / "run"
    assert main(["ppo", "--env", env, *TINY, "--json", "--run-dir", str(run)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["family"], result["steps"]) == (env, 400)
    assert len(rows(run)) == 5
    assert (run / "agent" / "weights.safetensors").exists()


def test_a_run_stopped_and_killed_goes_on_from_its_last_checkpoint(tmp_path, capsys, monkeypatch):
    """As long as nothing else is lost, a cut in the middle of an update is as good as a kill."""
    run, iterate, calls = tmp_path / "run", ppo_train.iterate, []

    class PowerCutError(Exception):
        pass

    def eventful(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C
        if len(calls) == 4:
            raise PowerCutError
        return iterate(*arguments)

    monkeypatch.setattr(ppo_train, "iterate", eventful)
    command = ["ppo", "--env=CartPole-v1", *TINY, "--run-dir", str(run)]
    assert main(command) == 130
    assert "stopped after 2 of 5" in capsys.readouterr().err
    with pytest.raises(PowerCutError):
        main([*command, "--resume"])
    assert [row["step"] for row in rows(run)] == [1, 2, 3]
    assert main([*command, "--resume"]) == 0
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5]
    assert [row["steps"] for row in rows(run)] == [80, 160, 240, 320, 400]


def refused(capsys, tmp_path, *words):
    """What is said; nothing is left behind."""
    assert main(["ppo", *words, "--run-dir", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "HalfCheetha-v5"], "HalfCheetah-v5"),
        (["--env", "CartPole"], "CartPole-v1"),
        (["--env", "gymnax:CartPol-v1"], "CartPole-v1"),
        (["--env", "nowhere_to_be_found:Mine-v0"], "there is no module 'nowhere_to_be_found'"),
        (["--env", "tests.envs.counting:Mine-v0"], "no environment 'Mine-v0'"),
        (["reacher", "--env", "CartPole-v1"], "not both"),
        (["gymnax:CartPol-v1"], "CartPole-v1"),
    ],
)
def test_names_of_nothing_are_refused(capsys, tmp_path, words, message):
    assert message in refused(capsys, tmp_path, *words)


@pytest.mark.parametrize(
    ("env", "package", "extra"),
    [
        ("CartPole-v1", "gymnasium", "gym"),
        ("envpool:CartPole-v1", "envpool", "envpool"),
        ("gymnax:Pendulum-v1", "gymnax", "gymnax"),
    ],
)
def test_a_simulator_that_is_not_installed_is_named_with_its_extra(
    capsys, tmp_path, monkeypatch, env, package, extra
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"metarlhf.envs.adapters.{package}", raising=False)
    monkeypatch.setattr("metarlhf.envs.registry._made", {})  # what was made before is kept
    import metarlhf.envs.adapters

    monkeypatch.delattr(metarlhf.envs.adapters, package, raising=False)
    message = refused(capsys, tmp_path, "--env", env)
    assert f"{package} is not installed" in message
    assert f"pip install 'metarlhf[{extra}]'" in message


def test_mujoco_missing_is_said_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, name)
    message = refused(capsys, tmp_path, "--env", "HalfCheetah-v5")
    assert "pip install 'metarlhf[mujoco]'" in message
