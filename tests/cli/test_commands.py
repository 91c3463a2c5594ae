"""The commands from end to end, on small budgets: what they print, write and continue."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from metarlhf.cli import main
from metarlhf.experiments.references import References
from metarlhf.meta.prior import load_prior
from tests.cli.tiny import DEMO, GRADIENT, JOINT, ORACLE, PPO, meta_train


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_tasks_lists_every_family_with_what_varies(capsys):
    assert main(["tasks", "--json"]) == 0
    tasks = {entry["task"]: entry for entry in last_line(capsys)["tasks"]}
    assert {"navigation", "reacher", "pendulum", "cartpole"} <= tasks.keys()
    assert tasks["navigation"]["horizon"] == 100
    assert tasks["navigation"]["varies"] == "goal position (2 numbers)"
    assert main(["tasks"]) == 0
    listed = capsys.readouterr().out
    assert "pendulum" in listed
    assert "metaworld/ML10" in listed


def test_ppo_writes_a_run_and_shows_it_again(tmp_path, capsys):
    command = ["ppo", "cartpole", *PPO, "--json", "--run-dir", str(tmp_path / "run")]
    assert main(command) == 0
    result = last_line(capsys)
    assert result["family"] == "cartpole"
    assert result["steps"] == 400
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 5
    assert main([*command, "--resume"]) == 0
    assert last_line(capsys) == result


def test_rlhf_is_watched_and_tells_what_is_forbidden(tmp_path, capsys):
    """After two checks of two it would have three to make, but for what they may take."""
    argv = [
        "rlhf", "navigation/hazard", "--labels=2", "--rounds=1", "--updates=1",
        "--final-updates=3", "--watch.every=1", "--watch.budget=2",
        "--watch.patience=9", "--never.clips=4", "--never.model.hidden", "8",
        "--leash=0.1", "--ppo.num-envs=4", "--ppo.num-steps=20",
        "--ppo.hidden", "8", "--ensemble.hidden", "8", "--run-dir", str(tmp_path / "run"),
    ]  # fmt: skip
    assert main([*argv, "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert (result["labels"], result["check_answers"], result["halted"]) == (2, 2, True)
    assert len(result["checks"]) == 2
    assert result["steps"] == 3 * 4 * 20 + 2 * 2 * 100
    assert result["cost"] >= 0
    assert result["cost_exploring"] > 0
    rows = [
        json.loads(row) for row in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert ["liked" in row for row in rows] == [False, True, True]
    held = ("never_clips", "never_marked", "never_share", "never_multiplier", "leash_kl",
            "leash_coefficient")  # fmt: skip
    assert all(name in row for row in rows for name in ("cost", *held))
    assert {name: result[name] for name in held} == {name: rows[-1][name] for name in held}
    assert result["never_clips"] == 4
    never, leash = lines[-2:]
    assert never.startswith(f"Never this: 4 clips were looked over, and {result['never_marked']}")
    assert f"{result['leash_kl']:.3g} nats a step from its reference (KL), where 0.1" in leash
    assert main([*argv, "--resume"]) == 0


def test_rlhf_spends_its_answers(tmp_path, capsys):
    config = [flag.replace("--", "--ppo.") for flag in PPO if "total" not in flag]
    assert (
        main([
            "rlhf", "pendulum", *config, "--labels=3", "--rounds=2",
            "--candidates=8", "--updates=1", "--final-updates=2",
            "--ensemble.hidden", "8", "--ensemble.fit-steps=2",
            "--run-dir", str(tmp_path / "run"), "--json",
        ])
        == 0
    )  # fmt: skip
    result = last_line(capsys)
    assert result["labels"] == 3
    assert result["steps"] == (2 * 1 + 2) * 4 * 20


def test_a_prior_teaches_a_task_and_is_read_in_one_line(prior, tmp_path, capsys):
    assert load_prior(prior).shape.family == "navigation/finn2017"
    command = ["adapt", str(prior), "--task=3", "--json", "--run-dir", str(tmp_path / "run")]
    assert main(command) == 0
    result = last_line(capsys)
    assert result["labels"] == 10
    assert result["task"] == 3
    assert Path(result["agent"], "weights.safetensors").exists()


def test_evaluate_has_the_figures_it_promises(prior, tmp_path, capsys):
    run = tmp_path / "run"
    command = [
        "evaluate", str(prior), *ORACLE, "--tasks=2", "--scratch-tasks=0", "--json", "--run-dir",
        str(run),
    ]  # fmt: skip
    assert main(command) == 0
    result = last_line(capsys)
    assert result["family"] == "navigation/finn2017"
    assert result["labels"] == 10
    low, mean, high = (result["normalised_return"][name] for name in ("low", "mean", "high"))
    assert low <= mean <= high
    assert result["scratch_labels_ratio"] is None
    assert result["scratch_steps_ratio"] is None
    assert result["seconds"] > 0
    assert "<svg" in (run / "report.html").read_text()
    assert result["families"][0]["family"] == result["family"]


def by_gradient(folder, method, reward, *more):
    train = ["meta-train", "navigation", "--method", method, "--reward", reward, *GRADIENT]
    train += more
    return main([*train, "--run-dir", str(folder / "run"), "--json"])


def test_an_initialisation_is_meta_trained_and_adapted_to_answers(tmp_path, capsys):
    assert by_gradient(tmp_path, "promp", "teacher") == 0
    result = last_line(capsys)
    assert (result["method"], result["iterations"]) == ("promp", 2)
    assert 0 <= result["accuracy_hard"] <= 1
    adapt = ["adapt", result["prior"], "--steps=2", "--run-dir", str(tmp_path / "adapted")]
    assert main([*adapt, "--json"]) == 0
    result = last_line(capsys)
    assert (result["labels"], result["steps"]) == (10, 2 * 2 * 100)


@pytest.mark.parametrize(("method", "rule"), [("reptile", "sgd"), ("promp", "learned")])
def test_an_initialisation_is_meta_trained_on_the_tasks_reward_and_evaluated(
    method, rule, tmp_path, capsys
):
    assert by_gradient(tmp_path, method, "task", "--policy.inner-rule", rule) == 0
    result = last_line(capsys)
    assert (result["method"], result["accuracy_hard"]) == (method, None)
    adapt = ["adapt", result["prior"], "--run-dir", str(tmp_path / "adapted"), "--json"]
    assert main(adapt) == 0
    capsys.readouterr()
    evaluate = ["evaluate", result["prior"], *ORACLE, "--tasks=2", "--steps=2", "--json"]
    evaluate += ["--run-dir", str(tmp_path / "evaluated")]
    assert main(evaluate) == 0
    measured = last_line(capsys)
    more = ("--policy.inner-rule", rule, "--seed=1")
    assert by_gradient(tmp_path / "other", method, "task", *more) == 0
    other = last_line(capsys)["prior"]
    both = [*evaluate[:-1], str(tmp_path / "both"), "--no-pretraining", "--also", other]
    assert main(both) == 0
    twice = last_line(capsys)
    assert (twice["num_priors"], len(twice["starts"]["random"]["step_sizes"])) == (2, 2)
    assert "pretrained" not in twice["starts"]
    assert main([*both, "--also", other]) == 2
    assert "named twice" in capsys.readouterr().err
    for curves in (measured, measured["starts"]["random"], measured["starts"]["pretrained"]):
        assert [len(curves[name]) for name in ("returns", "shares")] == [3, 3]
    gained = measured["returns"][2]["mean"] - measured["returns"][0]["mean"]
    assert measured["gains"][1]["mean"] == pytest.approx(gained)
    assert "<svg" in (tmp_path / "evaluated" / "report.html").read_text()
    assert main([*evaluate, "--resume"]) == 0
    assert last_line(capsys) == measured

    with pytest.raises(SystemExit):
        main(["evaluate", result["prior"], "--help"])
    helped = capsys.readouterr().out
    assert "--pretraining" in helped
    assert "FOLDER" in helped

    for command, option in (
        ("adapt", "--preset=twenty"), ("adapt", "--labels=20"),
        ("evaluate", "--scratch-tasks=2"), ("evaluate", "--scratch_tasks=2"),
        ("evaluate", "--preset=ten"),
    ):  # fmt: skip
        folder = tmp_path / "refused"
        assert main([command, result["prior"], option, "--run-dir", str(folder)]) == 2
        named = option.partition("=")[0].replace("_", "-")
        assert f"{named} is about answers" in capsys.readouterr().err
        assert not folder.exists()


def test_a_scale_without_length_is_refused(prior, tmp_path, capsys, monkeypatch):
    """As where PPO ends in some task just where an untrained policy is."""
    no_scale = lambda *_: References(np.zeros(2), np.array([1.0, 0.0]))
    monkeypatch.setattr("metarlhf.cli.measure.references", no_scale)
    command = ["evaluate", str(prior), "--tasks=2", "--scratch-tasks=0"]
    assert main([*command, "--run-dir", str(tmp_path / "run")]) == 2
    assert "there is nothing to compare with" in " ".join(capsys.readouterr().err.split())


def test_demo_goes_through_to_its_report(tmp_path, capsys):
    run = tmp_path / "run"
    command = [
        "demo", "navigation", *DEMO, *ORACLE, "--tasks=2", "--scratch-tasks=0", "--json",
        "--run-dir", str(run),
    ]  # fmt: skip
    assert main(command) == 0
    result = last_line(capsys)
    assert result["meta_training"]["iteration"] == [1, 2, 3]
    assert (run / "report.html").exists()
    load_prior(run / "prior", "navigation")


@contextmanager
def meta_training(run, *more):
    """`metarlhf meta-train` in a process of its own, which has begun its first step."""
    command = [sys.executable, "-m", "metarlhf", "meta-train", "navigation", *JOINT]
    command += ["--run-dir", str(run), *more]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any("compiling" in line for line in said)
        # The step takes seconds, as compiling does: this is in the middle of it.
        time.sleep(0.3)
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_meta_training_stopped_and_killed_goes_on_to_the_same_prior(prior, tmp_path):
    run = tmp_path / "run"
    with meta_training(run) as process:
        process.send_signal(signal.SIGINT)  # Ctrl-C
        _, said = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "stopped after 1 of 3; go on with the same command and --resume" in said
        assert "Traceback" not in said
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["1"]
    with meta_training(run, "--resume") as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (run / "result.json").exists()
    assert meta_train(run, "--resume") == 0
    whole, resumed = (
        load_file(folder / "weights.safetensors") for folder in (prior, run / "prior")
    )
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
