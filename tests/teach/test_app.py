"""What the page's server takes, and what it refuses."""

import time

import pytest
from sqlalchemy import func, select

from metarlhf.teach import people, questions, tables
from metarlhf.teach.web.app import Settings
from metarlhf.teach.web.guard import LARGEST, Rate
from tests.teach.conftest import World


def kept(world):
    with world.database.read() as connection:
        return questions.answers(connection, world.run)


def test_a_person_at_this_machine_answers_question_after_question(world):
    me = world.browser()
    assert me.sign_in().json()["name"] == "you"
    seen = []
    question = me.next()
    while question:
        seen.append(question["question"])
        assert question["kind"] == "comparison"
        assert [one["scene"]["steps"] for one in question["clips"]] == [5, 5]
        said = me.answer(question["question"], request=f"r{len(seen)}")
        assert said.status_code == 200
        question = said.json()["next"]
    assert sorted(seen) == sorted(world.questions)
    assert len(kept(world)) == 4
    status = me.get("/api/status").json()
    assert (status["given"], status["mine"], status["open"], status["labels"]) == (4, 4, 0, 10)


def test_the_same_request_again_is_one_answer(world):
    me = world.browser()
    me.sign_in()
    question = me.next()["question"]
    first, again = me.answer(question), me.answer(question)
    assert first.json()["answer"] == again.json()["answer"]
    assert len(kept(world)) == 1
    refused = me.answer(question, "right", "another")
    assert refused.status_code == 409
    assert "already" in refused.json()["error"]


def test_what_was_said_is_taken_back(world):
    me = world.browser()
    me.sign_in()
    question = me.next()["question"]
    me.answer(question)
    undo = lambda request: me.post("/api/undo", json={"request": request})
    undone = undo("a").json()
    assert undone["undone"] == undone["next"]["question"] == question
    assert kept(world) == []
    me.answer(question, "right", "again")
    # A request that was heard, whose answer was not, is made again: nothing more is taken back.
    assert undo("a").json()["undone"] == question
    assert len(kept(world)) == 1
    undo("b")
    assert undo("c").json()["undone"] is None


def test_when_all_is_learned_nothing_is_taken_back(world):
    me = world.browser()
    me.sign_in()
    me.answer(me.next()["question"])
    with world.database.write() as connection:
        questions.set_status(connection, world.run, {"doing": "done"})
    refused = me.post("/api/undo", json={"request": "a"})
    assert refused.status_code == 409
    assert len(kept(world)) == 1


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"host": "["}, b"{}"), ({"origin": "http://["}, b"{}"), ({}, b'{"token": NaN}'),
        ({}, b'{"token": "\\ud800"}'), ({}, b"\xff"), ({}, b"[" * 9_999), ({}, b"1e999"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_never_an_error_of_the_servers(world, headers, content):
    me = world.browser()
    for path in ("/api/session", "/api/answers"):
        said = me.post(
            path, content=content, headers=headers | {"content-type": "application/json"}
        )
        assert 400 <= said.status_code < 500
        assert "content-security-policy" in said.headers
        assert said.json()["error"]


def test_a_moment_is_called_bad(world):
    me = world.browser()
    me.sign_in()
    clip = me.next()["clips"][0]["clip"]
    said = me.post("/api/corrections", json={"clip": clip, "step": 2, "request": "a"})
    assert said.status_code == 200
    wrong = me.post("/api/corrections", json={"clip": clip, "step": 5, "request": "b"})
    assert wrong.status_code == 409
    assert me.post("/api/corrections", json={"clip": clip, "step": 2, "request": "a"}) is not None
    other = me.post("/api/corrections", json={"clip": clip, "step": 3, "request": "a"})
    assert other.status_code == 409
    with world.database.write() as connection:
        questions.set_status(connection, world.run, {"doing": "done"})
    late = me.post("/api/corrections", json={"clip": clip, "step": 3, "request": "c"})
    assert (late.status_code, "all is learned" in late.text) == (409, True)
    with world.database.read() as connection:
        assert [one.step for one in questions.corrections(connection, world.run)] == [2]


def test_cookies_cannot_be_read_by_scripts_or_sent_by_other_sites(world):
    said = world.browser().sign_in()
    cookie = said.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_every_response_says_what_a_browser_must_refuse(world):
    me = world.browser()
    me.sign_in()
    for path in ("/", "/static/page.js", "/api/status", "/api/nothing"):
        headers = me.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_nothing_on_the_page_comes_from_elsewhere(world):
    me = world.browser()
    for path in ("/", "/static/page.js", "/static/api.js", "/static/scene.js", "/static/page.css"):
        text = me.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text


@pytest.mark.parametrize("path", ["/api/next", "/api/answers", "/api/undo", "/api/corrections"])
def test_without_its_word_a_request_is_not_the_pages(world, path):
    me = world.browser()
    assert me.post(path, json={}).status_code == 401
    me.sign_in()
    me.headers["x-csrf-token"] = "guess"
    assert me.post(path, json={}).status_code == 403
    del me.headers["x-csrf-token"]
    assert me.post(path, json={}).status_code == 403


def test_other_sites_and_other_names_are_refused(world):
    me = world.browser()
    me.sign_in()
    refused = me.post("/api/next", headers={"origin": "http://evil.example"})
    assert refused.status_code == 403
    assert me.post("/api/next", headers={"origin": "http://localhost"}).status_code == 200
    refused = me.get("/", headers={"host": "evil.example"})
    assert (refused.status_code, "'evil.example'" in refused.json()["error"]) == (400, True)
    for host in ("LOCALHOST:1", "[::1]", "[::1]:8765", "127.0.0.1:8765"):
        assert me.get("/", headers={"host": host}).status_code == 200
    for host in ("[::2]:8765", "localhost.evil.example", "", "[::1"):
        assert me.get("/", headers={"host": host}).status_code == 400


def test_a_request_that_is_too_long_is_refused_also_when_it_does_not_say_so(world):
    me = world.browser()
    me.sign_in()
    assert me.post("/api/answers", content=b" " * (LARGEST + 1)).status_code == 413
    pieces = (b" " * 1024 for _ in range(64))
    assert me.post("/api/answers", content=pieces).status_code == 413
    assert kept(world) == []


@pytest.mark.parametrize(
    "change",
    [
        {"question": "1"}, {"question": -1}, {"question": 2**40}, {"choice": "both"},
        {"request": ""}, {"request": "a b"}, {"request": "a" * 65}, {"seconds": -1},
        {"seconds": 1e9}, {"mark": 11}, {"more": 1}, {"choice": None}, {"choice": None, "mark": 5},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused_and_nothing_kept(world, change):
    me = world.browser()
    me.sign_in()
    body = {"question": me.next()["question"], "request": "r", "seconds": 1.0, "choice": "left"}
    refused = me.post("/api/answers", json=body | change)
    assert refused.status_code in (409, 422)
    assert kept(world) == []


def test_who_is_faster_than_anybody_can_look_waits(tmp_path):
    world = World(tmp_path, Settings(answers_per_second=2.0))
    assert world.app.state.rate.per_second == 2.0
    # However slow this machine is, nothing fills up again between the first request and the last.
    world.app.state.rate = Rate(per_second=1e-6, at_once=world.app.state.rate.at_once)
    with world.browser() as me:
        me.sign_in()
        statuses = [me.post("/api/next").status_code for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    world.database.close()


def test_a_rate_fills_up_again_and_forgets_the_quiet():
    rate = Rate(1.0, 2.0, most=2)
    assert [rate.allows("a", 0.0) for _ in range(3)] == [True, True, False]
    assert not rate.allows("a", 0.5)
    assert rate.allows("a", 1.6)
    rate.allows("b", 2.0)
    rate.allows("c", 2.0)
    assert rate.allows("a", 2.0)


class TestTokens:
    def test_only_who_was_invited_comes_in(self, open_world):
        token = open_world.invite("ana")
        stranger = open_world.browser()
        assert stranger.sign_in().status_code == 401
        assert stranger.sign_in("guess").status_code == 401
        assert "token" in stranger.sign_in("guess").json()["error"]
        assert open_world.browser().sign_in(token).json()["name"] == "ana"

    def test_a_token_is_kept_as_a_hash_alone(self, open_world):
        token = open_world.invite("ana")
        with open_world.database.read() as connection:
            stored = connection.execute(select(tables.annotators.c.token_hash)).scalars().all()
        assert stored == [people.hashed(token)]
        assert token not in stored

    def test_a_new_token_makes_the_old_one_void(self, open_world):
        old, new = open_world.invite("ana"), open_world.invite("ana")
        assert open_world.browser().sign_in(old).status_code == 401
        assert open_world.browser().sign_in(new).status_code == 200

    def test_who_is_revoked_is_out_at_once_and_what_they_said_stays(self, open_world):
        ana = open_world.browser()
        ana.sign_in(open_world.invite("ana"))
        ana.answer(ana.next()["question"])
        with open_world.database.write() as connection:
            people.revoke(connection, open_world.run, "ana")
        end = time.monotonic() + 5
        while ana.post("/api/next").status_code != 401:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert [one.annotator for one in kept(open_world)] == ["ana"]

    def test_nobody_reads_or_changes_what_another_said(self, open_world):
        ana, ben = open_world.browser(), open_world.browser()
        ana.sign_in(open_world.invite("ana"))
        ben.sign_in(open_world.invite("ben"))
        question = ana.next()["question"]
        said = ana.answer(question, "left", "same-name").json()["answer"]
        # Not by the same request, nor by taking back, nor by any path.
        assert ben.answer(question, "right", "same-name").json()["answer"] != said
        for request in ("a", "b"):
            ben.post("/api/undo", json={"request": request})
        (left,) = kept(open_world)
        assert (left.annotator, left.id) == ("ana", said)
        text = ben.get("/api/status").text + str(ben.next())
        assert "ana" not in text
        for path in ("/api/answers", f"/api/answers/{said}"):
            assert ben.get(path).status_code in (404, 405)

    def test_guessing_tokens_is_slow(self, tmp_path):
        world = World(tmp_path, Settings(needs_tokens=True, hosts=None, sign_ins_per_minute=3.0))
        with world.browser() as stranger:
            statuses = [stranger.sign_in(f"guess{i}").status_code for i in range(5)]
        assert statuses == [401] * 3 + [429] * 2
        world.database.close()


def test_a_clip_is_shown_and_others_are_not_there(world):
    me = world.browser()
    me.sign_in()
    clip = me.next()["clips"][0]
    assert me.get(f"/api/clips/{clip['clip']}").json()["scene"] == clip["scene"]
    assert me.get("/api/clips/999").status_code == 404
    assert me.get("/api/clips/one").status_code == 422
    assert world.browser().get(f"/api/clips/{clip['clip']}").status_code == 401


def test_a_rollback_is_of_one_answer_and_not_of_those_beside_it(world):
    """The writer puts many in a transaction: what is refused takes nothing else with it."""
    import asyncio

    from metarlhf.errors import Refused
    from metarlhf.teach import answering

    async def together():
        writer, run = world.app.state.writer, world.run
        who = await writer.write(lambda c: people.local(c, run).id)
        say = lambda q, r: writer.write(
            lambda c: answering.answer(c, run, who, q, r, 1.0, choice="left")
        )
        work = [say(world.questions[0], "a"), say(999, "b"), say(world.questions[1], "c")]
        return await asyncio.gather(*work, return_exceptions=True)

    first, refused, last = asyncio.run(together())
    assert isinstance(refused, Refused)
    assert [one.id for one in kept(world)] == [first, last]
    with world.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.answers)).scalar() == 2
