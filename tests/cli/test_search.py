"""`metarlhf search` from end to end, and `ppo --learned` with what it leaves."""

import json

import pytest

from metarlhf.cli import main
from tests.cli.test_errors import said
from tests.cli.tiny import PPO

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
    found = last_line(capsys)
    assert found["learned"] == str(run / what)
    assert (run / "imitation").exists() == (what == "optimiser")
    assert json.loads((run / what / "description.json").read_text())["about"]["generations"] == 2
    assert main([*command, "--resume"]) == 0
    assert last_line(capsys) == found

    learned = [
        "ppo", "cartpole", *PPO, "--learned", str(run / what), "--run-dir", str(tmp_path / "ppo"),
        "--json",
    ]  # fmt: skip
    assert main(learned) == 0
    assert last_line(capsys)["steps"] == 400


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search", "--families", "HalfCheetah-v5"], "HalfCheetah-v5"),
        (["search", "--families", "reacher", "reacher"], "once"),
        (["search", "--generations", "0"], "generations"),
        (["search", "drift", "--ppo.objective", "kl"], "objective"),
        (["search", "--imitation.batch", "1"], "imitation.batch"),
        (
            ["ppo", "cartpole", "--learned", "shipped:optimiser", "--config.objective", "trpo"],
            "trpo",
        ),
        (["ppo", "cartpole", "--learned", "nowhere"], "nowhere"),
        (["ppo", "cartpole", "--learned", "shipped:optimizer"], "only shipped:optimiser"),
        (["meta-train", "--method", "reptile", "--config.policy.inner-rule", "learned"], "reptile"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    tmp_path, monkeypatch, capsys, words, says
):
    monkeypatch.chdir(tmp_path)
    assert says in said(capsys, words)
    assert not list(tmp_path.iterdir())
