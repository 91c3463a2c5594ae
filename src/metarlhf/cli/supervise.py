"""Processes watched over by another: the page's, the agent's, and one that makes films where a
simulator is to be seen. None needs the others.

One that is killed, or fails, is begun again and goes on from what is on disk: nothing that was
answered is lost, as it was on disk before anybody was told that it was taken.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from metarlhf.cli.options import say, value_in
from metarlhf.runs import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Which part of the command a process is, and where labels are, in the environment: a URL may hold
# a password, which nobody else is to see among the processes.
PART, LABELS = "METARLHF_TEACH_PART", "METARLHF_LABELS"
LESSON = "lesson.json"
# A process that ends so soon after its beginning, so often in a row, is begun no more.
SOON, OFTEN = 20.0, 3
# By somebody else, as by a system without memory: that says nothing about how the next one fares.
KILLED = (-signal.SIGKILL, -signal.SIGTERM)
ENDED = (0, 2, 130)  # done, bad input, stopped: nothing that beginning again would mend


def known(folder: Path) -> str | None:
    """The run's number among the labels; None: nothing was begun there."""
    return _told(folder, "run")


def place(folder: Path, named: str | None) -> str:
    """The URL of a lesson's labels: as it is named, as the lesson wrote down, or beside it."""
    return named or _told(folder, "labels") or f"sqlite:///{folder / 'labels.db'}"


@contextmanager
def labels_of(folder: Path, named: str | None) -> Iterator[tuple[Any, str]]:
    """A lesson's labels, opened, and its number among them.

    Raises:
        UserError: there is no lesson.
        LabelError: they cannot be opened, or do not hold it.
    """
    from metarlhf.teach import Database, questions

    run = known(folder)
    if run is None:
        raise UserError(f"{folder} is no lesson: name the directory of a run of `metarlhf teach`")
    database = Database(place(folder, named))
    try:
        with database.read() as connection:
            questions.family_of(connection, run)
        yield database, run
    finally:
        database.close()


def _told(folder: Path, name: str) -> str | None:
    try:
        return json.loads((folder / LESSON).read_bytes()).get(name)
    except (OSError, ValueError, AttributeError):
        return None


def watch(options: Any, argv: Sequence[str]) -> int:
    """Keep both going until the agent has learned all, then the page for a while."""
    if known(options.directory) and not options.resume:
        raise UserError(
            f"{options.directory} holds a lesson already: go on with --resume, or name another "
            "--run-dir"
        )
    _free(options)
    for number in (signal.SIGTERM, signal.SIGINT):  # or the agent would be left alone
        signal.signal(number, _stop)
    agent = _Process(lambda again: _agent(argv, again), "agent")
    page = camera = None
    try:
        while True:
            status = agent.look()
            if status not in (None, 0):
                return int(status)
            if page is None and known(options.directory) is not None:
                page = _Process(lambda again: _page(options), "page")
                if options.env is not None:
                    camera = _Process(lambda again: _camera(options), "camera")
                _invite(options)
            if page is not None and page.look() is not None:
                return 1
            if camera is not None and camera.look() is not None:
                say("no more films are made: what can be seen can be answered; --resume tries anew")
                camera = None
            if status == 0:
                _linger(options, page)
                return 0
            time.sleep(0.1)
    except KeyboardInterrupt:
        agent.interrupt()
        status = agent.wait()
        return 130 if status is None else int(status)
    finally:
        for process in (page, camera, agent):
            if process is not None:
                process.end()


def _stop(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


class _Process:
    """A process that is begun again when it was killed or failed."""

    def __init__(self, begin: Any, name: str):
        self._begin, self.name = begin, name
        self._failures = 0
        self._start(again=False)

    def _start(self, again: bool) -> None:
        self._process: subprocess.Popen = self._begin(again)
        self._at = time.monotonic()

    def look(self) -> int | None:
        """None while it goes on; its exit status when it has ended for good."""
        status = self._process.poll()
        if status is None or status in ENDED:
            return status
        lived = time.monotonic() - self._at
        if status not in KILLED:
            self._failures = self._failures + 1 if lived < SOON else 1
        if self._failures >= OFTEN:
            say(f"the {self.name}'s process ended {OFTEN} times (status {status}); giving up")
            return 1
        say(f"the {self.name}'s process ended (status {status}); it goes on from what is saved")
        time.sleep(0.2 + 0.2 * self._failures)
        self._start(again=True)
        return None

    def interrupt(self) -> None:
        """Ask it to save and end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float = 60.0) -> int | None:
        """Its exit status, if it ends in time."""
        try:
            return self._process.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            return None

    def end(self) -> None:
        """Stop it, if it still goes on."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _agent(argv: Sequence[str], again: bool) -> subprocess.Popen:
    words = without_labels(argv) + (["--resume"] if again and "--resume" not in argv else [])
    program = "from metarlhf.cli import run; run()"
    environment = os.environ | {PART: f"agent of {os.getpid()}"}
    named = value_in(argv, "--labels")
    environment |= {LABELS: named} if named else {}
    return _begin([sys.executable, "-c", program, "teach", *words], environment)


def _begin(command: list[str], environment: dict[str, str]) -> subprocess.Popen:
    """In a session of its own: who watches hears a Ctrl-C alone, and passes it on."""
    return subprocess.Popen(command, env=environment, start_new_session=True)


def without_labels(argv: Sequence[str]) -> list[str]:
    """The words of a command line but for where labels are, which may be a secret."""
    words, skip = [], False
    for word in argv:
        if not skip and not word.startswith("--labels="):
            skip = word == "--labels"
            words += [] if skip else [word]
        else:
            skip = False
    return words


def orphaned() -> bool:
    """Whether this is the agent's process, and who began it is gone."""
    part = os.environ.get(PART, "")
    return part.startswith("agent of ") and int(part.split()[-1]) != os.getppid()


def _page(options: Any) -> subprocess.Popen:
    run = known(options.directory)
    assert run is not None
    command = [
        sys.executable, "-m", "metarlhf.teach.web.serve", "--run", run, "--host", options.host,
        "--port", str(options.port), "--report", str(options.directory / "report.html"),
        "--parent", str(os.getpid()),
    ]  # fmt: skip
    command += ["--tokens"] if options.annotators else []
    return _begin(command, os.environ | {LABELS: options.url})


def _camera(options: Any) -> subprocess.Popen:
    run = known(options.directory)
    assert run is not None
    command = [
        sys.executable, "-m", "metarlhf.teach.films", "--run", run, "--env", options.env,
        "--parent", str(os.getpid()),
    ]  # fmt: skip
    return _begin(command, os.environ | {LABELS: options.url})


def _invite(options: Any) -> None:
    """Say where the page is; whoever is invited gets a token, which is shown this once."""
    address = _address(options.host, options.port)
    for _ in range(100):
        try:
            urlopen(address, timeout=1).close()
            break
        except (URLError, OSError):
            time.sleep(0.1)
    if options.host in ("0.0.0.0", "::"):  # all of this machine's, of which others need one
        address = _address(socket.getfqdn(), options.port)
    if not options.annotators:
        say(f"Teach it at {address}")
        return
    from metarlhf.teach import people

    with labels_of(options.directory, options.url) as (labels, run), labels.write() as connection:
        there = people.names(connection, run)
        new = [name for name in options.annotators if name not in there]
        tokens = {name: people.invite(connection, run, name) for name in new}
    say("Each of these addresses is for one person, and is shown this once:")
    for name, token in tokens.items():
        say(f"  {name}: {address}#token={token}")
    for name in set(options.annotators) - set(new):
        say(f"  {name}: as before (`metarlhf annotators` invites anew)")


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _linger(options: Any, page: Any) -> None:
    """The page stays for a while, for its last picture and the report to be looked at."""
    if page is None or not options.linger:
        return
    say(f"The page stays for {options.linger:.0f} seconds, or until Ctrl-C.")
    end = time.monotonic() + options.linger
    try:
        while time.monotonic() < end and page.look() is None:
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass


def _free(options: Any) -> None:
    """Refuse a port that somebody else has, before anything is begun."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            raise UserError(
                f"the page cannot be at {options.host}:{options.port} ({error.strerror}): name "
                "another --port or --host"
            ) from error
