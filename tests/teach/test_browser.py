"""A person at a browser: Debian's Chromium, the real page, the real loop."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.people.teach import teaching
from metarlhf.cli import main

playwright = pytest.importorskip("playwright.sync_api")

GOAL = (0.3, 0.3)
# Without these it calls home at every start.
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
SHORT = ("--labels=10", "--rounds=10")
# Where pictures of the page go, to be looked at.
SHOTS = Path(os.environ.get("METARLHF_SCREENSHOTS", "runs/screenshots"))


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("CI_REQUIRES_CHROMIUM"):
            pytest.fail("Chromium is not installed, and these tests may not be left out here")
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=list(QUIET))
        yield opened
        opened.close()


def far(scene):
    """How far from the goal the point is on its way."""
    return sum(((x - GOAL[0]) ** 2 + (y - GOAL[1]) ** 2) ** 0.5 for x, y in scene["track"])


class Person:
    """Likes what ends near `GOAL`, and hears what a screen reader would say."""

    def __init__(self, browser, address, **view):
        self.page = browser.new_page(**view)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda line: self.errors.append(line.text) if line.type == "error" else None
        )
        self.page.goto(address)
        self.look()

    def hear(self, line):
        if line.type == "error":
            self.errors.append(line.text)

    def look(self):
        """Wait for the next question; returns how far from the goal each clip ends."""
        self.page.wait_for_selector("#question:not([hidden]) canvas", timeout=60_000)
        return [self.distance(canvas) for canvas in self.page.locator("#clips canvas").all()]

    def distance(self, canvas):
        words = canvas.get_attribute("aria-label")
        x, y = map(float, re.search(r"to \((.*?), (.*?)\)", words).groups())
        return ((x - GOAL[0]) ** 2 + (y - GOAL[1]) ** 2) ** 0.5

    def given(self):
        return int(self.page.locator("#given").inner_text())

    def until_given(self, count):
        """Wait until so many answers are counted; a script to wait by is what the page forbids."""
        playwright.expect(self.page.locator("#given")).to_have_text(str(count), timeout=60_000)

    def answer(self):
        """By key; returns when it is counted."""
        left, right = self.look()
        before = self.given()
        self.page.keyboard.press("ArrowLeft" if left < right else "ArrowRight")
        self.until_given(before + 1)

    def go_on_without_looking(self):
        """All further answers as fast as may be: as the page would send them."""
        ask = lambda path, body: self.page.request.post(path, data=body, headers=headers)
        headers = {}
        origin = self.page.url.rstrip("/")
        headers["x-csrf-token"] = ask(f"{origin}/api/session", {"token": None}).json()["csrf"]
        status, number = {}, 0
        while status.get("doing") != "done":
            time.sleep(0.2)
            question = ask(f"{origin}/api/next", {}).json().get("next")
            while question:
                better = min((0, 1), key=lambda side: far(question["clips"][side]["scene"]))
                number += 1
                body = {"question": question["question"], "request": f"fast{number}",
                        "seconds": 0.05, "choice": ("left", "right")[better]}  # fmt: skip
                time.sleep(0.06)
                question = ask(f"{origin}/api/answers", body).json().get("next")
            status = self.page.request.get(f"{origin}/api/status").json()

    def now(self):
        """How far from the goal an episode of the agent ends as it is now."""
        self.page.wait_for_selector("#now canvas", timeout=60_000)
        return self.distance(self.page.locator("#now canvas"))

    def shot(self, name):
        shot(self.page, name)


def test_somebody_teaches_it_by_keys_and_sees_it_improve(browser, tmp_path):
    with teaching(tmp_path / "run", "navigation", "--linger=60") as lesson:
        me = Person(browser, lesson.until_open().address, viewport={"width": 1200, "height": 800})
        me.answer()
        for _ in range(9):
            me.answer()
        assert me.given() == 10
        me.shot("desktop")
        me.page.keyboard.press("u")
        me.until_given(9)
        me.page.reload()
        me.look()
        me.until_given(9)
        me.page.set_viewport_size({"width": 390, "height": 844})
        me.answer()
        me.shot("phone")
        wide = me.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
        me.page.get_by_role("button", name="Bad moment").first.click()
        noted = me.page.get_by_role("button", name=re.compile("Step .* noted"))
        noted.wait_for()
        me.page.keyboard.press("n")
        noted.nth(1).wait_for()
        me.go_on_without_looking()
        me.page.wait_for_selector("#over:not([hidden])", timeout=120_000)
        me.page.wait_for_selector("#report:not([hidden])", timeout=60_000)
        me.shot("over")
        assert me.now() < 0.2  # where it begins it is 0.42 away
        assert "What was taught" in me.page.request.get(lesson.address + "/report").text()
        assert me.errors == []
    assert (tmp_path / "run" / "agent" / "description.json").exists()


def test_marks_are_given_by_digits_and_the_page_comes_back_by_itself(browser, tmp_path):
    """A server that was killed is begun again, and nobody has to reload anything."""
    options = ("--feedback=ratings", "--labels=8", "--rounds=8")
    with teaching(tmp_path / "run", "navigation", *options) as lesson:
        me = Person(browser, lesson.until_open().address)
        me.page.wait_for_selector("#rating:not([hidden])")
        (distance,) = me.look()
        assert me.page.get_by_role("button", name=re.compile(r"Mark \d+ of 10")).count() == 10
        me.page.keyboard.press("7")
        me.until_given(1)
        os.kill(lesson.children()["page"], 9)
        me.look()
        me.page.keyboard.press("3")
        me.until_given(2)
        assert "goes on from what is saved" in lesson.said()
        assert distance >= 0


def test_it_can_be_used_without_seeing_it_and_without_a_mouse(browser, tmp_path):
    with teaching(tmp_path / "run", "navigation", *SHORT) as lesson:
        me = Person(browser, lesson.until_open().address)
        me.look()
        # Every control has a name, and every clip says in words what happens in it.
        for role in ("button", "slider", "combobox", "checkbox"):
            for control in me.page.get_by_role(role).all():
                assert control.evaluate(
                    "e => (e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText).trim()"
                )
        assert "The point goes" in me.page.locator("#said").inner_text()
        # By the tabulator to a button, and by Enter.
        me.page.get_by_role("button", name="Left").focus()
        me.page.keyboard.press("Enter")
        me.until_given(1)
        # Keys are left to whoever else needs them.
        me.look()
        me.page.get_by_label("Answer by keys").uncheck()
        me.page.keyboard.press("ArrowLeft")
        me.page.wait_for_timeout(500)
        assert me.given() == 1
        assert contrast_faults(me.page) == []


def test_a_simulator_is_taught_by_its_films(browser, tmp_path, capsys):
    """Somebody who likes the right side looks where the bright square is when a film ends."""
    options = ("--env", "tests.envs.walking:Walking-v0", "--segment-length=10", *WALK)
    with teaching(tmp_path / "run", *options, "--linger=60") as lesson:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(lesson.until_open().address)
        for number in range(12):
            where = [bright(page, video) for video in films(page)]
            if number == 3:
                shot(page, "films")
            page.locator(f"[data-choice={'left' if where[0] > where[1] else 'right'}]").click()
            playwright.expect(page.locator("#given")).to_have_text(str(number + 1), timeout=60_000)
            if number == 5:
                os.kill(lesson.children()["camera"], 9)
        page.wait_for_selector("#over:not([hidden])", timeout=120_000)
        page.wait_for_selector("#report:not([hidden])", timeout=120_000)
        shot(page, "films-over")
        page.wait_for_selector("#now .wait", state="detached", timeout=60_000)
        assert bright(page, page.locator("#now video"), 1.0) > 0  # of nothing bright: not a number
        report = page.request.get(lesson.address + "/report").text()
        assert '<video src="data:video/mp4;base64,' in report
        assert errors == []
    # What it was never told: the reward is how far to the right it is, about 0 before it learned.
    assert main(["play", str(tmp_path / "run"), "--episodes=50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["return"] > 8


WALK = (
    "--labels=12", "--rounds=6", "--updates=4", "--final-updates=60",
    "--ppo.num-envs=4", "--ppo.num-steps=100", "--ppo.minibatches=4",
    "--ppo.lr=3e-3",
)  # fmt: skip


def films(page):
    """Both, when there are any, at their end."""
    page.wait_for_selector("#question:not([hidden]) #clips video", timeout=60_000)
    page.wait_for_selector("#clips .wait", state="detached", timeout=60_000)
    if page.locator("#pause").get_attribute("aria-pressed") == "false":
        page.locator("#pause").click()
    page.locator("#scrub").fill(page.locator("#scrub").get_attribute("max"))
    return page.locator("#clips video").all()


def bright(page, video, moment=None):
    """In which column, of 60, the bright square is; at some share of a film, or where it stands."""
    return video.evaluate(BRIGHT, moment)


BRIGHT = """async (video, moment) => {
  if (moment !== null) video.currentTime = moment * (video.duration - 0.01);
  for (let i = 0; i < 100 && video.seeking; i++) await new Promise((done) => setTimeout(done, 20));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [60, 40];
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 60, 40);
  const { data } = pen.getImageData(0, 0, 60, 40);
  let sum = 0, count = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] > 128) { sum += (i / 4) % 60; count += 1; }
  }
  return sum / count;
}"""


def shot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def contrast_faults(page):
    """Text with less contrast than WCAG 2.1 AA's 4.5 to 1, in light and in dark."""
    faults = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        faults += page.evaluate(CONTRAST)
    return faults


NAME = "e => e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText"

CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(colour).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faults = [];
  const all = "h1, h2, p, button:enabled, label, kbd, strong, select, a";
  for (const e of document.querySelectorAll(all)) {
    if (!e.offsetParent || !e.innerText.trim()) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faults.push(`${e.tagName} ${e.innerText.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return faults;
}"""
