"""`teach`, `annotators`, `export` and `import`: what they do, and what they refuse."""

import asyncio
import json
import os
import socket
import time

import pytest

from benchmarks.people.load import Browser
from benchmarks.people.teach import teaching
from metarlhf.cli import extras, main
from metarlhf.errors import UserError

TINY = (
    "--labels=4", "--rounds=2", "--updates=1", "--final-updates=1",
    "--candidates=20", "--ppo.hidden", "8", "--ppo.num-envs=4",
    "--ppo.num-steps=40", "--ensemble.hidden", "8", "--ensemble.fit-steps=3",
    "--ensemble.lapse=0.1",
)  # fmt: skip


async def teach(address, most=4, first=0):
    """Say "left" to so many questions; `first` numbers the requests."""
    browser = await Browser(address).open()
    await browser.sign_in(None)
    given = 0
    for _ in range(600):
        following = (await browser.post("/api/next", {}))[1].get("next")
        if following is not None:
            name = {"question": following["question"], "request": f"r{first + given}"}
            body = name | {"seconds": 0.5, "choice": "left"}
            given += (await browser.post("/api/answers", body))[0] == 200
        if given == most:
            break
        await asyncio.sleep(0.1)
    browser.close()
    assert given == most


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """The directory of a lesson that is over."""
    folder = tmp_path_factory.mktemp("lessons") / "run"
    with teaching(folder, "navigation", *TINY, "--linger=0") as begun:
        asyncio.run(teach(begun.until_open().address))
        assert begun.wait() == 0, begun.said()
    return folder


def said(capsys, *words):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_lesson_leaves_an_agent_a_report_and_its_labels(lesson, capsys):
    result = json.loads((lesson / "result.json").read_text())
    assert (result["labels"], result["people"], result["updates"]) == (4, ["you"], 3)
    assert "What was taught on navigation" in (lesson / "report.html").read_text()
    assert len(said(capsys, "play", str(lesson), "--episodes=2")["returns"]) == 2


def test_a_lesson_is_explained_without_the_tasks_own_reward(lesson, capsys):
    """What a person wants nobody knows: there is nothing true to compare with, and no star."""
    found = said(capsys, "explain", str(lesson), "--episodes=2")
    assert found["answers"] == 4
    told = json.loads((lesson / "explain.json").read_bytes())
    assert set(told["importance"]) == set(told["maps"][0]["rewards"]) == {"before", "after"}
    assert [(one["one"], one["other"]) for one in found["distances"]] == [("after", "before")]
    assert (told["verdict"]["epic"], told["verdict"]["agreement"]) == (None, None)
    assert told["verdict"]["text"].startswith("What was wanted is known from answers")
    assert "true reward" not in (lesson / "explain.html").read_text()
    rows = (lesson / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["labels"] == 4


def test_done_again_without_its_people_it_gives_the_same_agent(lesson, capsys, tmp_path):
    words = ["teach", "navigation", *TINY, "--replay", str(lesson)]
    result = said(capsys, *words, "--run-dir", str(tmp_path / "again"))
    first = (lesson / "agent" / "weights.safetensors").read_bytes()
    assert (tmp_path / "again" / "agent" / "weights.safetensors").read_bytes() == first
    assert result["labels"] == 4
    told = ("people", "corrections", "minutes_of_looking", "foreseen", "learned_return")
    before = json.loads((lesson / "result.json").read_text())
    assert {name: result[name] for name in told} == {name: before[name] for name in told}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_labels_go_to_a_file_and_a_lesson_is_done_again_from_it(lesson, capsys, tmp_path, kind):
    path = str(tmp_path / "labels")
    assert said(capsys, "export", str(lesson), "--format", kind, "--to", path)["rows"] > 10
    assert said(capsys, "import", path, "--run", str(tmp_path / "there"))["answers"] == 4
    words = ["teach", "navigation", *TINY, "--replay", str(tmp_path / "there")]
    said(capsys, *words, "--run-dir", str(tmp_path / "again"))
    first = (lesson / "agent" / "weights.safetensors").read_bytes()
    assert (tmp_path / "again" / "agent" / "weights.safetensors").read_bytes() == first


def test_people_are_listed_invited_and_revoked(lesson, capsys):
    assert said(capsys, "annotators", str(lesson))["people"][0]["standing"] == "at this machine"
    token = said(capsys, "annotators", str(lesson), "--invite", "eva")["token"]
    assert len(token) > 30
    people = said(capsys, "annotators", str(lesson), "--revoke", "eva")["people"]
    assert {one["name"]: one["standing"] for one in people}["eva"] == "revoked"
    # Whoever said something is told how much of it looks wrong, as the report does.
    wrong = {one["name"]: one["wrong"] for one in people}
    assert 0 < wrong["you"] < 0.5
    assert wrong["eva"] is None
    assert wrong["you"] == json.loads((lesson / "result.json").read_text())["wrong"]["you"]
    assert "wrong answers, as far as the model can tell" in (lesson / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teach", "navigation", "--host", "0.0.0.0"], "name people"),
        (["teach", "navigation", "--port", "0"], "port must be from 1"),
        (["teach", "navigation", "--overlap", "0"], "overlap must be 1 or more"),
        (["teach", "navigation", "--annotators", "a", "a"], "different names"),
        (["teach", "nowhere"], "no task family is called 'nowhere'"),
        (["teach", "--prior", "nothing"], "there is no nothing/"),
        (["teach", "navigation", "--replay", "nothing"], "nothing is no lesson"),
        (["export"], "which lesson?"),
        (["export", "nothing"], "nothing is no lesson"),
        (["import"], "which file?"),
        (["import", "nothing.jsonl"], "nothing.jsonl cannot be read"),
        (["annotators", "nothing"], "nothing is no lesson"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(words)
    except SystemExit as ended:  # tyro's own way
        status = ended.code
    assert status == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error


def test_a_port_that_somebody_has_is_refused_before_anything_is_begun(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run = tmp_path / "run"
        assert main(["teach", "navigation", "--port", port, "--run-dir", str(run)]) == 2
    assert "name another --port" in capsys.readouterr().err
    assert not run.exists()


def test_without_what_the_page_needs_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(extras, "_has", lambda name: name != "fastapi")
    with pytest.raises(UserError, match=r"fastapi missing.*pip install 'metarlhf\[web\]'"):
        extras.must_have_page()


def test_when_who_watches_over_both_is_killed_they_end_and_the_lesson_goes_on(tmp_path):
    folder = tmp_path / "run"
    with teaching(folder, "navigation", *TINY, "--linger=0") as begun:
        asyncio.run(teach(begun.until_open().address, most=2))
        children = begun.children()
        begun.process.kill()
        end = time.monotonic() + 30
        while any(os.path.exists(f"/proc/{child}") for child in children.values()):
            assert time.monotonic() < end
            time.sleep(0.1)
        begun.begin("--resume")
        asyncio.run(teach(begun.until_open().address, most=2, first=2))
        assert begun.wait() == 0, begun.said()
    result = json.loads((folder / "result.json").read_text())
    assert (result["labels"], result["updates"]) == (4, 3)
    assert result["learned_return"] is not None


def test_what_an_agent_did_is_recorded_and_begins_a_lesson(lesson, capsys, tmp_path):
    path = tmp_path / "shown.safetensors"
    said(capsys, "play", str(lesson), "--episodes=2", "--record", str(path))
    with teaching(
        tmp_path / "run", "navigation", *TINY, "--demonstrations", str(path), "--linger=0"
    ) as begun:
        asyncio.run(teach(begun.until_open().address))
        assert begun.wait() == 0, begun.said()
    words = ["teach", "navigation", *TINY, "--replay", str(tmp_path / "run")]
    again = ["--run-dir", str(tmp_path / "again")]
    assert main([*words, *again]) == 2
    assert "was another lesson: demonstrations differ" in capsys.readouterr().err
    said(capsys, *words, "--demonstrations", str(path), "--run-dir", str(tmp_path / "same"))
    first = (tmp_path / "run" / "agent" / "weights.safetensors").read_bytes()
    assert (tmp_path / "same" / "agent" / "weights.safetensors").read_bytes() == first
