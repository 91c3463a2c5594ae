"""`teach --env` and `rlhf --env`: somebody's simulator, and what is refused of it."""

import json
import signal

import pytest

from metarlhf.cli import extras, main
from metarlhf.errors import UserError
from metarlhf.reward import load_reward
from metarlhf.rlhf import checks as rlhf_checks

WALK = "tests.envs.walking:Walking-v0"
TINY = (
    "--segment-length=10", "--labels=4", "--rounds=2", "--updates=1",
    "--final-updates=1", "--candidates=20", "--ppo.hidden", "8",
    "--ppo.num-envs=2", "--ppo.num-steps=40", "--ppo.minibatches=2",
    "--ensemble.hidden", "8", "--ensemble.fit-steps=3",
)  # fmt: skip


def test_rlhf_learns_in_a_simulator_and_keeps_what_it_learned(tmp_path, capsys):
    run = tmp_path / "run"
    words = ["rlhf", "--env", WALK, *TINY, "--run-dir", str(run), "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["family"], result["labels"], result["steps"]) == (WALK, 4, 3 * 80)
    learned = load_reward(run / "reward")
    assert learned.shown.segment_length == 10
    assert float(learned.feedback.comparisons.weight.sum()) == 4
    # Explained by its clips, which its own reward compares: nobody plays.
    assert main(["explain", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    told = json.loads((run / "explain.json").read_bytes())
    assert (found["answers"], found["distances"]) == (4, [])
    assert len(told["episode"]["reward"]) == 10
    assert set(told["importance"]) == {"before", "after"}
    assert told["calibration"]["of"] == "fresh questions"
    assert "The newest clip" in (run / "explain.html").read_text()


def test_rlhf_in_a_simulator_goes_on_where_it_was_stopped(tmp_path, capsys, monkeypatch):
    run, whole = tmp_path / "run", rlhf_checks.run_round

    def stopped(*arguments):
        signal.raise_signal(signal.SIGINT)  # Ctrl-C, after which a step is finished
        return whole(*arguments)

    words = ["rlhf", "--env", WALK, *TINY, "--run-dir", str(run)]
    with monkeypatch.context() as patch:
        patch.setattr(rlhf_checks, "run_round", stopped)
        assert main(words) == 130
    assert "stopped after 1 of 3" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["labels"] for row in rows] == [2, 4, 4]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rlhf", "--env", "Walkin-v0"], "Gymnasium knows no environment 'Walkin-v0'"),
        (["rlhf", "navigation", "--segment-length", "5"], "segment_length is for --env"),
        (["rlhf", "--env", WALK, "--segment-length", "26"], "have 25 steps at most"),
        (["rlhf", "--env", WALK, "--segment-length", "1"], "segment_length must be 2 or more"),
        (["rlhf", "--env", WALK, "--task", "1"], "is one task"),
        (["rlhf", "reacher", "--env", WALK], "not both"),
        (["rlhf", "--env", WALK, "--feedback", "ratings"], "can give marks"),
        (["teach", "--env", WALK, "--prior", "x"], "--prior is for task families"),
        (["teach", "--env", "tests.envs.walking:Moody-v0", "--replay", "x"], "something else each"),
        (["teach", "--env", "tests.envs.walking:Endless-v0", "--replay", "x"], "no time limit"),
        (["teach", "--env", "tests.envs.walking:Unseen-v0", "--replay", "x"], "does not draw"),
        (["teach", "--env", "envpool:Ant-v5", "--replay", "x"], "cannot be seen again"),
        (["teach", "--env", "gymnax:CartPole-v1", "--replay", "x"], "compiled"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(capsys, tmp_path, words, message):
    run = tmp_path / "run"
    short = [] if "--segment-length" in words else ["--segment-length", "10"]
    env = "--env" in words
    try:
        status = main([*words, *(short if env else []), "--run-dir", str(run)])
    except SystemExit as ended:  # tyro's own way
        status = ended.code
    assert status == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
    assert not run.exists()


def test_without_what_films_need_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(extras, "_has", lambda name: name != "av")
    with pytest.raises(UserError, match=r"av missing.*pip install 'metarlhf\[film\]'"):
        extras.must_have_film()
