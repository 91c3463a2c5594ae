"""`metarlhf ppo --seeds`: agents side by side, and what is said of them together."""

import json

import pytest

from metarlhf.cli import main
from metarlhf.statistics import interquartile_mean
from tests.cli.tiny import PPO


def test_many_seeds_are_trained_and_published_together(tmp_path, capsys):
    run = tmp_path / "run"
    command = ["ppo", "navigation", *PPO, "--seeds=3", "--json", "--run-dir", str(run)]
    assert main(command) == 0
    out = capsys.readouterr().out.splitlines()
    assert "interquartile mean of 3 seeds" in out[0]
    result = json.loads(out[-1])
    assert len(result["returns"]) == 3
    assert len(set(result["returns"])) == 3
    middle = interquartile_mean(result["returns"])
    assert result["return"] == pytest.approx(middle.mean)
    assert result["return_low"] <= result["return"] <= result["return_high"]
    assert all((run / "agents" / str(i) / "weights.safetensors").exists() for i in range(3))


def test_seeds_outside_the_compiled_program_and_none_are_refused(tmp_path, capsys):
    run = ["--run-dir", str(tmp_path / "run")]
    assert main(["ppo", "--env=CartPole-v1", "--seeds=2", *run]) == 2
    assert "--seeds is for compiled environments" in capsys.readouterr().err
    assert main(["ppo", "navigation", "--seeds=0", *run]) == 2
    assert "seeds must be 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
