"""The README's snippets run as they stand, but for their budgets."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from metarlhf.cli import main
from metarlhf.meta import presets
from metarlhf.meta.joint_config import JointConfig, LatentRewardConfig
from metarlhf.meta.presets import FINN2017, preset
from metarlhf.ppo import PPOConfig
from metarlhf.runs import Logger

README = Path(__file__).parent.parent / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
# What makes them long, and what it becomes here.
BUDGETS = {
    "total_steps=150_000": "total_steps=3_200",
    "labels=100, rounds=20, updates=4": "labels=4, rounds=2, updates=1",
}
SMALL = JointConfig(
    iterations=1,
    reward_steps=2,
    tasks=4,
    episodes=2,
    pool=64,
    pool_new=16,
    library=16,
    clips=16,
    inner_labels=2,
    inner_particles=4,
    inner_clips=16,
    inner_candidates=8,
    reward=LatentRewardConfig(num_tasks=8, batch_tasks=4, comparisons=4, hidden=(8,)),
    ppo=PPOConfig(minibatches=2, hidden=(8,)),
)


@pytest.fixture
def small_presets(monkeypatch, tmp_path):
    """The presets that snippets name, with smaller budgets; files go where no one keeps any."""
    meta_rl = replace(FINN2017, iterations=1, meta_batch=2, episodes=2, hidden=(8,))
    few = replace(preset("navigation"), joint=SMALL)
    monkeypatch.setattr(presets, "FINN2017", meta_rl)
    monkeypatch.setattr(presets, "preset", lambda family: few)
    monkeypatch.chdir(tmp_path)


def test_there_is_a_snippet_for_each_of_the_two_by_two_and_one_for_what_is_ones_own():
    assert len(SNIPPETS) == 7
    assert all(sum(budget in text for text in SNIPPETS) == 1 for budget in BUDGETS)


@pytest.mark.parametrize("number", range(4), ids=["ppo", "rlhf", "meta-rl", "all"])
def test_a_snippet_runs(number, small_presets, capsys):
    text = SNIPPETS[number]
    for budget, small in BUDGETS.items():
        text = text.replace(budget, small)
    exec(compile(text, f"README.md, snippet {number + 1}", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_a_family_of_ones_own_goes_where_the_others_go(
    small_presets, capsys, tmp_path, monkeypatch
):
    """Two snippets together, as the README says; and the command finds it by its name."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(SNIPPETS[6])
    text = SNIPPETS[3].replace('"navigation"', '"mine:line"')
    exec(compile(text, "README.md, snippet 4", "exec"), {})
    before, after = map(float, capsys.readouterr().out.splitlines()[-2:])
    assert max(before, after) <= 0
    assert main(["adapt", "runs/prior", "--task=1", "--run-dir=runs/one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["family"] == "mine:line"
    assert main(["play", "runs/one", "--episodes=2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["returns"]) == 2
    assert main(["adapt", "runs/prior", "--family", "mine:circle"]) == 2
    assert "no task family is called 'mine:circle'" in capsys.readouterr().err


def test_a_logger_of_ones_own_is_told(capsys, tmp_path):
    names = {}
    exec(compile(SNIPPETS[4], "README.md, snippet 5", "exec"), names)
    logger = names["Best"](tmp_path)
    assert isinstance(logger, Logger)
    logger.begin([{"step": 1, "return": 1.0}])
    for step, value in enumerate((0.5, 2.0, 1.5), start=2):
        logger.log({"step": step, "return": value})
    assert capsys.readouterr().out == "step 3: 2.0\n"


def test_an_environment_of_ones_own_is_trained_in(capsys, tmp_path, monkeypatch):
    pytest.importorskip("gymnasium")
    (tmp_path / "walk.py").write_text(SNIPPETS[5])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sizes = ["--total-steps=512", "--num-steps=32", "--evaluate-every=1"]
    assert main(["ppo", "--env", "walk:Walk-v0", *sizes, "--run-dir=run", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert -75 < result["return"] < 0
