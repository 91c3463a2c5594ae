"""`metarlhf explain`: on real runs, small ones, and what it says where there is nothing to say."""

import json
import re
import shutil

import pytest

from metarlhf import envs
from metarlhf.cli import main
from tests.cli.tiny import GRADIENT, PPO

LEARN = [
    "--labels=6", "--rounds=2", "--updates=1", "--final-updates=1",
    "--candidates=20", "--ppo.hidden", "8", "--ppo.num-envs=4",
    "--ppo.num-steps=40", "--ensemble.hidden", "8", "--ensemble.fit-steps=20",
    "--ensemble.members=2",
]  # fmt: skip
NEVER = ["--never.clips=8", "--never.model.hidden", "8"]

FAMILIES = {"additive": "pendulum", "plain": "navigation/hazard"}


TO_TRUE = ("after", "true")


def features_named(family):
    family = envs.make_family(family)
    return [*family.observation_space.names, *family.action_space.names]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, prior):
    """Finished runs of each kind that learns a reward, and one that does not."""
    folder = tmp_path_factory.mktemp("explained")
    gradient = folder / "gradient"
    words = ["--method", "promp", *GRADIENT, "--run-dir", str(gradient)]
    commands = {
        "plain": ["rlhf", "navigation/hazard", *LEARN, *NEVER],
        "additive": [
            "rlhf",
            "pendulum",
            *LEARN,
            "--ensemble.network",
            "additive",
            "--teacher.mistake=0.1",
        ],
        "marks": ["adapt", str(prior), "--preset=ratings", "--final-updates=0"],
        "by gradient": ["adapt", str(gradient / "prior")],
        "ppo": ["ppo", "navigation", *PPO, "--epochs=1", "--minibatches=2"],
    }
    assert main(["meta-train", "navigation", *words]) == 0
    for name, command in commands.items():
        assert main([*command, "--run-dir", str(folder / name)]) == 0
    return folder


def explained(capsys, *words):
    capsys.readouterr()
    assert main(["explain", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys, *words):
    capsys.readouterr()
    assert main(["explain", *map(str, words)]) == 2
    said = capsys.readouterr().err.splitlines()
    return said[-1]


@pytest.mark.parametrize(
    ("run", "count", "exact"),
    [("plain", 6, False), ("additive", 6, True), ("marks", 10, False), ("by gradient", 10, False)],
)
def test_a_run_is_explained_on_one_page_that_needs_nothing_else(runs, capsys, run, count, exact):
    family = FAMILIES.get(run, "navigation")
    names = features_named(family)
    words = ["--episodes=2", "--references=4", "--pairs", *names[:2]]
    found = explained(capsys, runs / run, *words)
    told = json.loads((runs / run / "explain.json").read_bytes())
    assert found["answers"] == len(told["answers"]) == count
    assert found["completeness_error"] <= 0.01
    assert told["completeness"]["error"] <= told["completeness"]["largest"] * len(told["episode"])
    assert list(found["importance"]) == [one["name"] for one in told["features"]] == names
    assert sum(found["importance"].values()) == pytest.approx(1)
    for name in ("before", "after", "true"):
        assert sum(told["importance"][name]["integrated_gradients"].values()) == pytest.approx(1)
        assert all(value >= 0 for value in told["importance"][name]["permutation"].values())
    parts = zip(*told["episode"]["parts"].values(), strict=True)
    assert [sum(step) for step in parts] == pytest.approx(told["episode"]["reward"], abs=0.02)
    (one,) = told["maps"]
    assert one["features"] == names[:2]
    assert set(one["rewards"]) == {"before", "after", "true"}
    assert len(one["density"]) == len(one["rewards"]["true"]) == len(one["spread"]["after"])
    assert (one["forbidden"] is not None) == (run == "plain")
    likely = [x for row in one["forbidden"] or () for x in row if x is not None]
    assert all(0 <= x <= 1 for x in likely)
    assert (told["additive"]["exact"], told["additive"]["r2"] == 1.0) == (exact, exact)
    fresh, compared = told["calibration"], run != "marks"
    assert (fresh["of"], set(fresh["diagrams"])) == ("fresh questions", {"before", "after"})
    for diagram in fresh["diagrams"].values():
        assert 0.9 * fresh["questions"] < sum(diagram["weight"]) <= fresh["questions"]
        assert 0 <= diagram["expected_error"] <= 0.5
    for one in told["answers"]:
        assert (one["expected_by_others"] is not None) == (one["influence"] is not None) == compared
        assert not compared or (0 <= one["expected_by_others"] <= 1 and one["influence"] >= -1e-5)
    pairs = {(one["one"], one["other"]) for one in told["distances"]}
    assert pairs == {("after", "before"), ("after", "true"), ("before", "true")}
    assert all(0 <= one[kind] <= 1 for one in told["distances"] for kind in ("epic", "dard"))
    (to_true,) = [d["epic"] for d in told["distances"] if (d["one"], d["other"]) == TO_TRUE]
    assert told["verdict"]["epic"] == to_true == found["verdict"]["epic"]
    assert told["verdict"]["right"] == pytest.approx(fresh["diagrams"]["after"]["accuracy"])

    page = (runs / run / "explain.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|<script|<link", page)
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert found["formula"] in page
    assert all(f"<p>{sentence}</p>" in page for sentence in told["verdict"]["sentences"])
    assert ("<em>Forbidden</em>" in page) == (run == "plain")
    assert "where the clip begins" in page or FAMILIES.get(run) == "pendulum"
    assert "How often it is right" in page
    assert ("moved the reward" in page) == compared
    # Whoever never errs is not accused of slips, and of who was set to err it is said.
    assert "a slip, perhaps" not in page
    assert ("the simulated teacher was set to err" in page) == (run == "additive")
    assert ("the simulated teacher never erred here" in page) == (run in ("plain", "by gradient"))
    for name in names[:3]:
        assert name in page


def test_what_the_true_reward_pays_for_stands_beside_it(runs, capsys):
    explained(capsys, runs / "plain", "--episodes=2")
    told = json.loads((runs / "plain" / "explain.json").read_bytes())
    true = told["importance"]["true"]["integrated_gradients"]
    assert true["x"] + true["y"] == pytest.approx(1, abs=1e-4)
    pairs = {frozenset(one["features"]) for one in told["maps"]}
    assert len(pairs) == len(told["maps"]) == 3  # any two of the best three


def test_two_runs_are_compared_and_features_are_named(runs, capsys, tmp_path):
    words = ["--pairs", "y", "move x", "--episodes=2"]
    found = explained(
        capsys, runs / "by gradient", "--other", runs / "marks", "--output", tmp_path, *words
    )
    assert found["page"] == str(tmp_path / "explain.html")
    assert ("after", "other") in {(one["one"], one["other"]) for one in found["distances"]}
    told = json.loads((tmp_path / "explain.json").read_bytes())
    assert [one["features"] for one in told["maps"]] == [["y", "move x"]]
    extent = told["maps"][0]["extent"]
    assert -0.1 <= extent[2] < extent[3] <= 0.1  # a move is a tenth at most
    assert f"learned and {runs / 'marks'}" in (tmp_path / "explain.html").read_text()


def test_the_same_seed_gives_the_same_page(runs, capsys, tmp_path):
    words = ["--episodes=1", "--pairs", "x", "y", "--output"]
    pages = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        explained(capsys, runs / "by gradient", *words, folder)
        pages.append((folder / "explain.html").read_bytes())
    assert pages[0] == pages[1]


def test_where_there_is_nothing_to_explain_it_says_why(runs, capsys, tmp_path):
    assert "which run? metarlhf explain RUN" in refused(capsys)
    assert "there is no directory" in refused(capsys, tmp_path / "nowhere")
    assert "holds no run" in refused(capsys, tmp_path)
    ppo = refused(capsys, runs / "ppo")
    assert "a run of metarlhf ppo, which learns no reward" in ppo
    assert "expected one of rlhf, adapt or teach" in ppo
    assert "only rewards of one family" in refused(
        capsys, runs / "plain", "--other", runs / "additive"
    )
    odd = refused(capsys, runs / "plain", "--pairs", "x", "speed")
    assert "there is no map over 'x' and 'speed': expected two of 'x', 'y', 'move x'" in odd
    assert "episodes must be 1 or more" in refused(capsys, runs / "plain", "--episodes=0")

    cut = tmp_path / "cut"
    shutil.copytree(runs / "plain", cut)
    weights = cut / "reward" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "truncated or was changed" in refused(capsys, cut)
    shutil.rmtree(cut / "reward")
    assert "kept no reward" in refused(capsys, cut)
    (cut / "result.json").unlink()
    assert "its run is not finished" in refused(capsys, cut)
