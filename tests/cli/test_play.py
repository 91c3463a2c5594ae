"""`metarlhf play`: what a trained agent brings, how it looks, and what has no agent."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from metarlhf import envs
from metarlhf.cli import main
from metarlhf.networks import build_agent, publish_agent
from metarlhf.report import film
from tests.cli.tiny import PPO

FILMED = "tests.envs.filmed:Filmed-v0"
TINY = [*PPO, "--epochs=1", "--minibatches=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of several kinds, by name."""
    folder = tmp_path_factory.mktemp("runs")
    commands = {
        "navigation": ["navigation", "--task=3"],
        "seeds": ["cartpole", "--seeds=2"],
        "gymnax": ["--env=gymnax:CartPole-v1"],
        "filmed": ["--env", FILMED],
        "guess": ["--env=tests.envs.counting:Guess-v0"],
    }
    for name, words in commands.items():
        assert main(["ppo", *words, *TINY, "--run-dir", str(folder / name)]) == 0
    return folder


def played(capsys, *words):
    capsys.readouterr()
    assert main(["play", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    ("run", "environment"),
    [
        ("navigation", "navigation/finn2017"),
        ("seeds", "cartpole"),
        ("gymnax", "gymnax:CartPole-v1"),
        ("filmed", FILMED),
    ],
)
def test_a_run_is_played_and_its_returns_are_told(runs, capsys, run, environment):
    found = played(capsys, runs / run, "--episodes=4")
    assert found["environment"] == environment
    assert len(found["returns"]) == found["episodes"] == 4
    assert found["return"] == pytest.approx(np.mean(found["returns"]))
    assert found["return_low"] <= found["return"] <= found["return_high"]
    again = played(capsys, runs / run, "--episodes=4")
    assert again["returns"] == found["returns"]


def test_it_plays_the_task_that_was_trained_on_unless_another_is_named(runs, capsys):
    run = runs / "navigation"
    own, same, other = (
        played(capsys, run, *words)["return"] for words in ([], ["--task=3"], ["--task=4"])
    )
    assert own == same != other
    assert json.loads((run / "result.json").read_text())["return"] == pytest.approx(own, rel=1e-4)


def test_what_was_taught_from_a_prior_is_played(prior, tmp_path, capsys):
    run = tmp_path / "adapted"
    assert main(["adapt", str(prior), "--task=2", "--run-dir", str(run)]) == 0
    own = json.loads((run / "result.json").read_text())["return"]
    assert played(capsys, run)["return"] == pytest.approx(own, rel=1e-4)


def test_every_agent_of_many_seeds_can_be_played(runs, capsys):
    returns = [
        played(capsys, runs / "seeds", f"--agent={i}", "--sample")["returns"] for i in (0, 1)
    ]
    assert returns[0] != returns[1]


def test_an_agents_own_folder_is_of_the_run_that_it_stands_in(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["ppo", "reacher", "--task=5", "--seeds=2", *TINY, "--run-dir", str(run)]) == 0
    by_run, by_folder, other = (
        played(capsys, *words)["returns"]
        for words in ([run], [run / "agents" / "0"], [run, "--task=0"])
    )
    assert by_run == by_folder != other


def test_a_published_agent_needs_no_run(tmp_path, capsys):
    import jax

    agent = build_agent(jax.random.key(0), envs.make("pendulum"), (4,))
    publish_agent(tmp_path / "mine", agent, "pendulum")
    assert played(capsys, tmp_path / "mine", "--task=2")["environment"] == "pendulum"


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_family_is_drawn(runs, capsys, tmp_path, suffix):
    path = tmp_path / f"drawn{suffix}"
    assert played(capsys, runs / "navigation", "--draw", path)["drawing"] == str(path)
    if suffix == ".png":
        assert len(np.unique(np.asarray(Image.open(path)))) > 10
    else:
        assert "<svg" in path.read_text()


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_gymnasium_environment_is_filmed(runs, capsys, tmp_path, suffix):
    """The first episode: as many frames as it has steps, each as bright as steps were made."""
    path = tmp_path / f"film{suffix}"
    found = played(capsys, runs / "filmed", "--episodes=3", "--draw", path)
    assert found["returns"] == played(capsys, runs / "filmed", "--episodes=3")["returns"]
    with Image.open(path) as image:
        assert image.n_frames == 6
        seen = []
        for i in range(image.n_frames):
            image.seek(i)
            assert image.size == (48, 32)
            seen.append(np.asarray(image.convert("RGB")).mean())
            assert image.info["duration"] == pytest.approx(40, abs=1)
    np.testing.assert_allclose(seen, [40 * i for i in range(6)], atol=3)


def refused(capsys, *words):
    capsys.readouterr()
    try:
        status = main(["play", *map(str, words)])
    except SystemExit as error:  # tyro's own
        status = error.code
    assert status == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return " ".join(captured.err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which run?"),
        (["nowhere"], "there is no directory"),
        (["navigation", "--draw=x.gif"], "is written as .svg, .png"),
        (["navigation/agent", "--draw=x.gif"], "is written as .svg, .png"),
        (["filmed", "--draw=x.svg"], "is written as .gif, .png, .webp, .mp4"),
        (["gymnax", "--draw=x.svg"], "is neither"),
        (["guess", "--draw=x.gif"], "does not draw itself"),
        (["gymnax", "--task=1"], "--task is for task families"),
        (["filmed", "--episodes=0"], "episodes must be 1 or more"),
        (["seeds", "--agent=2"], "has 2 agents, numbered from 0"),
        (["navigation", "--agent=1"], "has one agent"),
    ],
)
def test_what_cannot_be_played_or_drawn_is_refused(runs, capsys, words, message):
    words = [runs / words[0], *words[1:]] if words else []
    assert message in refused(capsys, *words)


def test_runs_without_an_agent_say_why(runs, prior, tmp_path, capsys):
    assert "holds no run" in refused(capsys, tmp_path)
    assert "is a run of metarlhf meta-train, which leaves no agent" in refused(capsys, prior.parent)
    unfinished = shutil.copytree(runs / "navigation", tmp_path / "unfinished")
    shutil.rmtree(unfinished / "agent")
    (unfinished / "result.json").unlink()
    assert "its run is not finished" in refused(capsys, unfinished)


def test_a_damaged_agent_is_refused(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "navigation", tmp_path / "damaged")
    weights = run / "agent" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    assert "Fetch both files anew" in refused(capsys, run)


def test_without_opengl_one_message_says_what_would_help(runs, capsys, monkeypatch, tmp_path):
    def fails(env):
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    monkeypatch.setattr(sys.modules["tests.envs.filmed"].Filmed, "render", fails)
    message = refused(capsys, runs / "filmed", "--draw", tmp_path / "film.gif")
    assert "cannot be drawn here" in message
    assert "MUJOCO_GL=egl" in message
    assert not (tmp_path / "film.gif").exists()


@pytest.mark.parametrize(
    ("rate", "shown", "duration"), [(20.0, 8, 50), (60.0, 4, 30), (500.0, 1, 20)]
)
def test_a_film_keeps_its_pace(rate, shown, duration):
    made = film.encode(".gif", (np.full((640, 400, 3), 30 * i, np.uint8) for i in range(8)), rate)
    with Image.open(io.BytesIO(made)) as image:
        assert (image.n_frames, image.size) == (shown, (200, 320))
        assert shown == 1 or image.info["duration"] == duration
