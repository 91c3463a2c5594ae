"""Bad input: one clear message, exit status 2, no traceback, nothing lost."""

import json
import shutil

import pytest

from metarlhf.cli import main
from metarlhf.meta.presets import preset
from metarlhf.runs import RunDirectory
from tests.cli.tiny import GRADIENT, JOINT, PPO, contents
from tests.full_disk import full_disk


def said(capsys, argv):
    """What a refused command says."""
    try:
        status = main(argv)
    except SystemExit as error:  # tyro's own
        status = error.code
    assert status == 2
    output = capsys.readouterr().err
    assert "Traceback" not in output
    return " ".join(output.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "commands:"),
        (["trian"], "there is no command 'trian'"),
        (["ppo", "cartpol"], "Did you mean 'cartpole'?"),
        (["ppo", "cartpole", "--total-steps=-5"], "total_steps must be at least 1"),
        (["ppo", "cartpole", "--lr=fast"], "fast"),
        (["ppo", "cartpole", "--total-stepz=5"], "--total-steps INT"),
        (["ppo", "cartpole", "--seed=-1"], "seed must be from 0"),
        (["rlhf", "navigation", "--labels=-1"], "labels must be 0 or more"),
        (["rlhf", "navigation", "--pessimism=-1"], "pessimism must be 0 or more"),
        (
            ["rlhf", "navigation", "--pessimism=1", "--ensemble.members=1"],
            "alone disagrees with nobody",
        ),
        (
            ["teach", "navigation", "--pessimism=1", "--ensemble.members=1"],
            "alone disagrees with nobody",
        ),
        (["rlhf", "navigation", "--leash=nan"], "leash must be 0 or more, and finite"),
        (["rlhf", "navigation", "--watch.every=7"], "no multiple of watch.every = 7"),
        (["rlhf", "navigation", "--never.clips=9"], "nothing is forbidden in navigation"),
        (["teach", "navigation", "--watch.every=2"], "asked about the newest behaviour"),
        (["rlhf", "pendulumm"], "Did you mean 'pendulum'?"),
        (["meta-train", "maze"], "no task family is called 'maze'"),
        (["meta-train", "navigation", "--iterations=0"], "iterations must be at least 1"),
        (["meta-train", "navigation", "--tasks=99999"], "tasks must be 1 to 2047"),
        (["meta-train", "navigation", "--method=mamll"], "--method"),
        (["meta-train", "--method=maml", "--library=9999"], "library must be 1 to 4096"),
        (["meta-train", "--method=maml", "--reward=me"], "--reward"),
        (["demo", "--scratch-tasks=99"], "scratch_tasks must be from 0 to tasks"),
        (["demo", "maze"], "no task family is called 'maze'"),
        (["demo", "navigation", "--joint.iterations=-1"], "iterations must be at least 1"),
        (["demo", "navigation", "--joint.tasks=7"], "tasks * episodes = 28 must be a multiple of"),
        (["ppo", "navigation", "--lr=nan"], "lr must be above 0 and finite"),
        (["ppo", "pendulum", "--seeds=2", *PPO, "--lr=1e30"], "diverged: in step 1"),
        (["meta-train", "--method"], "Missing value for argument '--method'"),
        (["adapt"], "which prior?"),
        (["adapt", __file__], "is a file: name the folder"),
        (["adapt", "/nowhere", "--preset"], "Missing value for argument '--preset'"),
        (["adapt", "/nowhere"], "there is no folder /nowhere"),
        (["evaluate"], "which prior?"),
        (["evaluate", "/nowhere"], "there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(capsys, argv, message, tmp_path):
    where = ["--run-dir", str(tmp_path / "run")] if len(argv) > 1 else []
    assert message in said(capsys, [*argv, *where])


@pytest.mark.parametrize(
    ("command", "option", "message"),
    [
        ("adapt", "--task=-1", "task must be from 0"),
        ("adapt", "--labels=-1", "labels must be 0 or more"),
        ("adapt", "--preset=eleven", "eleven"),
        ("adapt", "--steps=1", "is for priors that adapt by gradient steps"),
        ("evaluate", "--tasks=0", "tasks must be 1 or more"),
        ("evaluate", "--oracle.total-steps=0", "total_steps must be at least 1"),
        ("evaluate", "--preset=eleven", "eleven"),
    ],
)
def test_what_cannot_be_done_with_a_prior_is_refused(
    capsys, prior, tmp_path, command, option, message
):
    words = [command, str(prior), option, "--run-dir", str(tmp_path / "run")]
    assert message in said(capsys, words)


def test_a_typo_uses_up_no_directory(capsys, tmp_path):
    run = tmp_path / "run"
    for command in ("rlhf", "meta-train", "demo", "ppo"):
        said(capsys, [command, "--run-dir", str(run), "navgation"])
        assert not run.exists()


def test_a_directory_named_like_a_task_is_no_task(tmp_path, monkeypatch):
    """Presets are those of the task, wherever it stands among the words."""
    monkeypatch.chdir(tmp_path)
    assert main(["meta-train", "--run-dir", "pendulum", "reacher", *JOINT]) == 0
    begun = json.loads((tmp_path / "pendulum" / "config.json").read_text())
    assert begun["family"] == "reacher"
    assert begun["config"]["ppo"]["gamma"] == preset("reacher").joint.ppo.gamma
    assert preset("reacher").joint.ppo.gamma != preset("pendulum").joint.ppo.gamma


def test_a_prior_for_another_family_is_refused(capsys, prior):
    for command in ("adapt", "evaluate"):
        message = said(capsys, [command, str(prior), "--family", "reacher"])
        assert "meta-trained on 'navigation/finn2017', not on 'reacher'" in message


def test_an_agent_is_not_taken_for_a_prior(capsys, prior, tmp_path):
    folder = shutil.copytree(prior, tmp_path / "agent")
    description = folder / "description.json"
    description.write_text(description.read_text().replace("metarlhf prior", "metarlhf agent"))
    assert "describes 'metarlhf agent', not a metarlhf prior" in said(
        capsys, ["adapt", str(folder)]
    )


def test_a_run_in_the_place_of_its_prior_is_told_where_that_is(capsys, prior):
    assert f"its prior is in {prior}" in said(capsys, ["adapt", str(prior.parent)])


@pytest.mark.parametrize("damage", ["truncated", "tampered", "described", "gone"])
def test_a_damaged_prior_is_refused(capsys, prior, tmp_path, damage):
    folder = shutil.copytree(prior, tmp_path / "prior")
    weights, description = folder / "weights.safetensors", folder / "description.json"
    content = bytearray(weights.read_bytes())
    if damage == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "tampered":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "described":
        description.write_text(description.read_text()[:50])
    else:
        weights.unlink()
    assert str(folder) in said(capsys, ["adapt", str(folder)])


def test_a_run_directory_in_use_or_used_is_refused_and_left_as_it_was(capsys, tmp_path):
    used = RunDirectory(tmp_path / "run", {})
    command = ["ppo", "cartpole", *PPO, "--run-dir", str(tmp_path / "run")]
    before = contents(tmp_path)
    assert "is in use by process" in said(capsys, [*command, "--resume"])
    used.close()
    assert "holds a run already" in said(capsys, command)
    assert "a run of another command" in said(capsys, [*command, "--resume"])
    assert contents(tmp_path) == before


def test_a_finished_run_is_neither_begun_again_nor_changed(capsys, prior):
    run = prior.parent
    before = contents(run)
    command = ["meta-train", "navigation", *JOINT, "--run-dir", str(run)]
    assert "holds a run already" in said(capsys, command)
    assert "seed was 0, is 1" in said(capsys, [*command, "--seed=1", "--resume"])
    assert contents(run) == before


def test_meta_training_that_diverges_says_so_instead_of_going_on(capsys, tmp_path):
    steep = "--policy.inner-lr=1e30"
    command = ["meta-train", "navigation", "--method=fomaml", "--reward=task", *GRADIENT]
    message = said(capsys, [*command, steep, "--run-dir", str(tmp_path / "run")])
    assert "meta-training on navigation/finn2017 diverged: in step 1" in message
    assert "is not a number" in message
    assert not (tmp_path / "run" / "prior").exists()


def test_a_run_directory_that_is_a_file_is_refused(capsys, tmp_path):
    (tmp_path / "run").write_text("a letter")
    command = ["ppo", "cartpole", "--run-dir", str(tmp_path / "run")]
    assert "is a file" in said(capsys, command)
    assert (tmp_path / "run").read_text() == "a letter"
    inside = ["ppo", "cartpole", "--run-dir", str(tmp_path / "run" / "within")]
    assert "name another --run-dir" in said(capsys, inside)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("room", [100, 30_000], ids=["configuration", "checkpoint"])
def test_a_full_disk_is_said_and_with_room_again_the_run_goes_on(capsys, prior, tmp_path, room):
    run = tmp_path / "run"
    command = ["meta-train", "navigation", *JOINT, "--run-dir", str(run)]
    with full_disk(room):
        message = said(capsys, command)
    assert "the disk is full" in message
    assert message.count("metarlhf: ") == 1
    assert main([*command, "--resume"]) == 0
    weights = "weights.safetensors"
    assert (run / "prior" / weights).read_bytes() == (prior / weights).read_bytes()


@pytest.mark.parametrize("command", ["demo", "ppo", "rlhf", "meta-train", "rl2", "teach"])
def test_a_family_said_by_an_option_is_looked_up(command, capsys):
    assert "called 'navigaton'" in said(capsys, [command, "--family", "navigaton"])
    twice = said(capsys, [command, "navigation", "--family", "reacher"])
    assert "family is said twice" in twice


def test_a_misspelt_simulator_is_guessed(capsys):
    told = said(capsys, ["meta-train", "finn2017/HalfCheetahDri"])
    assert "Did you mean 'finn2017/HalfCheetahDir'?" in told


def test_a_task_s_reward_needs_a_method_by_gradients(capsys):
    told = said(capsys, ["meta-train", "navigation", "--reward", "task"])
    assert "add --method promp" in told


def test_without_an_answer_there_is_nothing_to_learn_from(capsys):
    assert "labels must be 1 or more" in said(capsys, ["rlhf", "--labels", "0"])


def test_play_says_that_a_file_is_none(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file: name the directory of a run" in said(
        capsys, ["play", str(tmp_path / "file")]
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rlhf", "--env", "Pendulum-v1", "navigation"], "either the family 'navigation' or --env"),
        (
            ["ppo", "--env", "Pendulum-v1", "--vary", "g=uniform(5,15)"],
            "named as the family: --env",
        ),
        (["rlhf", "navigation", "--task", "100000000000"], "task must be from 0 to 999999"),
    ],
)
def test_what_does_not_go_together_is_said_at_once(capsys, words, told):
    assert told in said(capsys, words)


def test_a_run_without_a_prior_is_told_from_a_folder_that_has_none(capsys, tmp_path):
    RunDirectory(tmp_path / "run", {}).close()
    assert "is a run without a prior" in said(capsys, ["adapt", str(tmp_path / "run")])
