"""The processes of a lesson, supervised by one that does nothing else: the agent's, the page's, and
a camera's where people are shown films. None needs the others.

One that is killed, or fails, is begun again and goes on from what is on disk: nothing that was
answered is lost, as it was on disk before anybody was told that it was taken.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from metarlhf.errors import UserError
from metarlhf.teach.directory import LABELS, open_labels, run_of

# Says in the environment that a process is supervised, and by which.
AGENT_OF = "METARLHF_TEACH_AGENT_OF"
# A process that ends so soon after its beginning, in seconds, so often in a row, is begun no more.
_SOON, _OFTEN = 20.0, 3
# By somebody else, as by a system without memory: that says nothing about how the next one fares.
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)
_ENDED = (0, 2, 130)  # done, bad input, stopped: nothing that beginning again would mend


def is_agent() -> bool:
    """Whether this is a supervised process, which is to train the agent."""
    return AGENT_OF in os.environ


def is_orphan() -> bool:
    """Whether this is a supervised process, and its supervisor is gone."""
    return is_agent() and int(os.environ[AGENT_OF]) != os.getppid()


@dataclass(frozen=True)
class Supervisor:
    """Keeps the agent going until it has learned all, and the page for a while longer.

    Args:
        command: the agent's command line. A URL of labels in it is passed by the environment.
        directory: of the lesson.
        labels: URL of its labels.
        resume: go on with a lesson that is there.
        host, port: where the page is.
        annotators: names of people who sign in with tokens; none: whoever reaches the page.
        linger: how long the page stays when all is learned, in seconds.
        env: the simulator that is to be filmed; None: clips are drawn.
    """

    command: Sequence[str]
    directory: Path
    labels: str
    resume: bool
    host: str
    port: int
    annotators: Sequence[str]
    linger: float
    env: str | None

    def run(self) -> int:
        """Begin the processes and watch over them; Ctrl-C stops the agent, which saves.

        Returns:
            The exit status.

        Raises:
            UserError: there is a lesson that is not to be resumed, or somebody else has the port.
        """
        if run_of(self.directory) and not self.resume:
            raise UserError(
                f"{self.directory} holds a lesson already: go on with --resume, or name another "
                "--run-dir"
            )
        self._check_port()
        for number in (signal.SIGTERM, signal.SIGINT):  # or the agent would be left alone
            signal.signal(number, _interrupt)
        agent = _Process("agent", self._start_agent)
        page = camera = None
        try:
            while True:
                status = agent.look()
                if status not in (None, 0):
                    return int(status)
                if page is None and run_of(self.directory) is not None:
                    page = _Process("page", self._start_page)
                    if self.env is not None:
                        camera = _Process("camera", self._start_camera)
                    self._invite()
                if page is not None and page.look() is not None:
                    return 1
                if camera is not None and camera.look() is not None:
                    _say(
                        "no more films are made: what can be seen can be answered; --resume tries "
                        "anew"
                    )
                    camera = None
                if status == 0:
                    self._wait_for_readers(page)
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

    def _start_agent(self, again: bool) -> subprocess.Popen:
        command = _without_labels(self.command)
        # As named on its command line; otherwise it finds them by itself.
        labels = {LABELS: self.labels} if len(command) < len(self.command) else {}
        command += ["--resume"] if again and "--resume" not in command else []
        return _start(command, {AGENT_OF: str(os.getpid()), **labels})

    def _start_page(self, again: bool) -> subprocess.Popen:
        words = [
            "--host", self.host, "--port", str(self.port),
            "--report", str(self.directory / "report.html"),
        ]  # fmt: skip
        words += ["--tokens"] if self.annotators else []
        return self._start_module("metarlhf.teach.web.serve", *words)

    def _start_camera(self, again: bool) -> subprocess.Popen:
        return self._start_module("metarlhf.teach.films", "--env", str(self.env))

    def _start_module(self, module: str, *words: str) -> subprocess.Popen:
        run, parent = str(run_of(self.directory)), str(os.getpid())
        command = [sys.executable, "-m", module, "--run", run, "--parent", parent, *words]
        return _start(command, {LABELS: self.labels})

    def _invite(self) -> None:
        """Say where the page is; whoever is invited gets a token, which is shown this once."""
        address = _address(self.host, self.port)
        for _ in range(100):
            try:
                urlopen(address, timeout=1).close()
                break
            except (URLError, OSError):
                time.sleep(0.1)
        if self.host in ("0.0.0.0", "::"):  # all of this machine's, of which others need one
            address = _address(socket.getfqdn(), self.port)
        if not self.annotators:
            _say(f"Teach it at {address}")
            return
        from metarlhf.teach import people

        with (
            open_labels(self.directory, self.labels) as (database, run),
            database.write() as connection,
        ):
            there = people.names(connection, run)
            new = [name for name in self.annotators if name not in there]
            tokens = {name: people.invite(connection, run, name) for name in new}
        _say("Each of these addresses is for one person, and is shown this once:")
        for name, token in tokens.items():
            _say(f"  {name}: {address}#token={token}")
        for name in set(self.annotators) - set(new):
            _say(f"  {name}: as before (`metarlhf annotators` invites anew)")

    def _wait_for_readers(self, page: "_Process | None") -> None:
        """The page stays for a while, for its last picture and the report to be looked at."""
        if page is None or not self.linger:
            return
        _say(f"The page stays for {self.linger:.0f} seconds, or until Ctrl-C.")
        end = time.monotonic() + self.linger
        try:
            while time.monotonic() < end and page.look() is None:
                time.sleep(0.2)
        except KeyboardInterrupt:
            pass

    def _check_port(self) -> None:
        """Refuse a port that somebody else has, before anything is begun."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise UserError(
                    f"the page cannot be at {self.host}:{self.port} ({error.strerror}): name "
                    "another --port or --host"
                ) from error


class _Process:
    """A process that is begun again when it was killed or failed."""

    def __init__(self, name: str, start: Callable[[bool], subprocess.Popen]):
        self._name, self._start = name, start
        self._failures = 0
        self._process, self._at = start(False), time.monotonic()

    def look(self) -> int | None:
        """None while it goes on; its exit status when it has ended for good."""
        status = self._process.poll()
        if status is None or status in _ENDED:
            return status
        lived = time.monotonic() - self._at
        if status not in _KILLED:
            self._failures = self._failures + 1 if lived < _SOON else 1
        if self._failures >= _OFTEN:
            _say(f"the {self._name}'s process ended {_OFTEN} times (status {status}); giving up")
            return 1
        _say(f"the {self._name}'s process ended (status {status}); it goes on from what is saved")
        time.sleep(0.2 + 0.2 * self._failures)
        self._process, self._at = self._start(True), time.monotonic()
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


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen:
    """In a session of its own: the supervisor hears a Ctrl-C alone, and passes it on."""
    return subprocess.Popen(command, env=os.environ | environment, start_new_session=True)


def _without_labels(command: Sequence[str]) -> list[str]:
    """A command line without where labels are, which may be a secret."""
    words, skip = [], False
    for word in command:
        if not skip and not word.startswith("--database="):
            skip = word == "--database"
            words += [] if skip else [word]
        else:
            skip = False
    return words


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    """Results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
