"""`metarlhf rl2` from end to end, and what it refuses."""

import json

import pytest

from metarlhf import envs
from metarlhf.cli import main
from metarlhf.cli.parsing import parse
from metarlhf.cli.rl2 import RL2, presets
from metarlhf.contrib import rl2
from metarlhf.contrib.config import RL2Config
from metarlhf.networks import load_agent
from tests.cli.test_errors import said

TINY = [
    "--tasks=2", "--episodes=3", "--ppo.total-steps=1200", "--ppo.num-envs=4",
    "--ppo.num-steps=50", "--ppo.minibatches=2", "--ppo.hidden", "4",
    "--ppo.memory-size=4", "--ppo.evaluate-every=4",
]  # fmt: skip


def test_it_trains_goes_on_and_tells_each_episodes_return(tmp_path, capsys):
    command = ["rl2", "navigation", *TINY, "--json", "--run-dir", str(tmp_path)]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    # Six updates: four, and the two that are left.
    assert found["steps"] == 1200
    assert len(found["returns_by_episode"]) == 3
    assert found["returns_by_episode"][-1]["mean"] == found["return"] < 0
    gained = found["return"] - found["returns_by_episode"][0]["mean"]
    assert found["gain"]["mean"] == pytest.approx(gained, abs=1e-4)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == [800, 1200]
    trials = rl2.trials_of(envs.make("navigation"), RL2Config(episodes=3))
    assert load_agent(found["agent"], trials)
    assert main([*command, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert "is a run of rl2, whose agent learns" in said(capsys, ["play", str(tmp_path)])


@pytest.mark.parametrize(
    ("words", "steps"),
    [([], 200), (["--episodes", "4"], 400), (["--episodes=4", "--ppo.num-steps=9"], 9)],
)
def test_a_whole_trial_is_seen_between_two_updates(words, steps):
    assert parse(RL2, words, "rl2", presets).config.ppo.num_steps == steps


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tasks", "0"], "tasks must be at least 1"),
        (["--episodes", "0"], "episodes must be at least 1"),
        (["finn2017/HalfCheetahDir"], "compiled families"),
        (["nowhere"], "nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(words, says, capsys):
    assert says in said(capsys, ["rl2", *words])
