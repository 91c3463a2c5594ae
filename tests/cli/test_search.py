"""`metarlhf search` from end to end, and `ppo --learned` with what it leaves."""

import json

import pytest

from metarlhf.cli import main
from tests.cli.test_errors import said

TINY = [
    "--families", "navigation", "--tasks=1", "--generations=2", "--evolution.population=2",
    "--imitation.tasks=1", "--imitation.parameters=16", "--imitation.steps=3",
    "--imitation.batch=8", "--ppo.total-steps=128", "--ppo.num-envs=2", "--ppo.num-steps=32",
    "--ppo.epochs=1", "--ppo.minibatches=2", "--ppo.hidden", "4", "--ppo.evaluation-episodes=1",
]  # fmt: skip


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("what", ["optimiser", "drift"])
def test_what_was_searched_for_trains(tmp_path, capsys, what):
    run = tmp_path / "search"
    command = ["search", what, *TINY, "--json", "--run-dir", str(run)]
    assert main(command) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["learned"] == str(run / what)
    assert (run / "imitation").exists() == (what == "optimiser")
    assert json.loads((run / what / "description.json").read_text())["about"]["generations"] == 2
    assert main([*command, "--resume"]) == 0
    assert last_line(capsys) == found

    # The words that it ends with train as it was searched for.
    name, *words = lines[-1].split()
    assert name == "metarlhf"
    assert main([*words, "--run-dir", str(tmp_path / "ppo"), "--json"]) == 0
    assert last_line(capsys)["steps"] == 128
    config = json.loads((tmp_path / "ppo" / "config.json").read_text())["config"]
    same = ["total_steps", "num_envs", "num_steps", "epochs", "minibatches", "hidden", "gamma"]
    same += ["lr"] if what == "drift" else []
    searched = json.loads((run / "config.json").read_text())["ppo"]
    assert {n: config[n] for n in same} == {n: searched[n] for n in same}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search", "--families", "HalfCheetah-v5"], "HalfCheetah-v5"),
        (["search", "--families", "reacher", "reacher"], "once"),
        (["search", "--generations", "0"], "generations"),
        (["search", "drift", "--ppo.objective", "kl"], "objective"),
        (["search", "--imitation.batch", "1"], "imitation.batch"),
        (
            ["ppo", "cartpole", "--learned", "shipped:optimiser", "--objective", "trpo"],
            "trpo",
        ),
        (
            ["ppo", "cartpole", "--learned", "shipped:optimiser", "--lr", "0.1"],
            "--lr would do nothing",
        ),
        (["ppo", "cartpole", "--learned", "nowhere"], "nowhere"),
        (["ppo", "cartpole", "--learned", "shipped:optimizer"], "only shipped:optimiser"),
        (["meta-train", "--method", "reptile", "--policy.inner-rule", "learned"], "reptile"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    tmp_path, monkeypatch, capsys, words, says
):
    monkeypatch.chdir(tmp_path)
    assert says in said(capsys, words)
    assert not list(tmp_path.iterdir())
