"""Families that the command line makes of Gymnax's environments, in every command."""

import json

import pytest

from metarlhf.cli import main
from metarlhf.meta.prior import load_prior
from tests.cli.tiny import GRADIENT, JOINT, ORACLE, PPO

# As short as it is thorough: each has its own kind of action.
ROD = ["gymnax:Pendulum-v1", "--vary=g=uniform(5,15)", "--vary", "max_steps_in_episode=40"]
POLE = ["gymnax:CartPole-v1", "--vary=length=log-uniform(0.3,1)", "--vary=max_steps_in_episode=40"]
NAMES = {
    ROD[0]: "gymnax:Pendulum-v1?g=uniform(5,15)&max_steps_in_episode=40",
    POLE[0]: "gymnax:CartPole-v1?length=log-uniform(0.3,1)&max_steps_in_episode=40",
}
families = pytest.mark.parametrize("words", [ROD, POLE], ids=["continuous", "discrete"])


@pytest.fixture
def run(tmp_path, capsys):
    """A command's result, and the folder of its run."""

    def call(name, *words):
        assert main([*words, "--json", "--run-dir", str(tmp_path / name)]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1]), tmp_path / name

    return call


@families
def test_a_teacher_meta_trains_adapts_and_is_measured(words, run):
    result, folder = run("meta", "meta-train", *words, *JOINT)
    assert result["family"] == NAMES[words[0]]
    assert load_prior(folder / "prior").family.name == NAMES[words[0]]
    adapted, _ = run("adapted", "adapt", str(folder / "prior"), "--task=2")
    assert (adapted["family"], adapted["labels"]) == (NAMES[words[0]], 10)
    small = ["--tasks=2", "--scratch-tasks=0", *ORACLE]
    measured, _ = run("measured", "evaluate", str(folder / "prior"), *small)
    assert measured["family"] == NAMES[words[0]]
    assert measured["families"][0]["varies"] == words[1].removeprefix("--vary=").replace("=", " ")


def test_gradients_meta_train_on_what_the_tasks_pay(run):
    words, method = ROD, ["--method", "promp", "--reward", "task"]
    result, folder = run("meta", "meta-train", *words, *method, *GRADIENT)
    assert load_prior(folder / "prior").family.name == NAMES[words[0]] == result["family"]
    adapted, agent = run("adapted", "adapt", str(folder / "prior"))
    assert adapted["steps"] == 2 * 40
    assert main(["play", str(agent), "--episodes=2", "--task=3"]) == 0


def test_one_task_is_learned_by_its_pay_and_by_answers(run):
    words = POLE
    paid, folder = run("ppo", "ppo", *words, "--task=1", *PPO)
    assert (paid["family"], paid["steps"]) == (NAMES[words[0]], 400)
    config = json.loads((folder / "config.json").read_text())
    assert config["family"] == NAMES[words[0]]
    ppo = [flag.replace("--", "--ppo.") for flag in PPO if "total" not in flag]
    small = ["--labels=3", "--rounds=2", "--candidates=8"]
    small += ["--updates=1", "--final-updates=1", "--ensemble.hidden", "8"]
    asked, _ = run("rlhf", "rlhf", *words, *ppo, *small, "--ensemble.fit-steps=2")
    assert (asked["family"], asked["labels"]) == (NAMES[words[0]], 3)


def test_what_cannot_vary_leaves_no_run(tmp_path, capsys):
    folder = tmp_path / "run"
    for words, message in [
        (["gymnax:Pendulum-v1", "--vary", "wind=uniform(0,1)"], "no parameter 'wind'"),
        (["gymnax:Pendulum-v1", "--vary", "g=often"], "expected uniform(LOW,HIGH)"),
        (["navigation", "--vary", "speed=uniform(0,1)"], "Gymnax's environments alone"),
        (["gymnax:Pendulum-v1"], "Say what varies"),
    ]:
        assert main(["meta-train", *words, "--run-dir", str(folder)]) == 2
        assert message in capsys.readouterr().err
        assert not folder.exists()
