"""Two processes watched over by a third: the page's, and the agent's. Neither needs the other.

One that is killed, or fails, is begun again and goes on from what is on disk: nothing that was
answered is lost, as it was on disk before anybody was told that it was taken.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from metarlhf.cli.options import say
from metarlhf.runs import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Which part of the command a process is, and where labels are, in the environment: a URL may hold
# a password, which nobody else is to see among the processes.
PART, LABELS = "METARLHF_TEACH_PART", "METARLHF_LABELS"
LESSON = "lesson.json"
# A process that ends so soon after its beginning, so often in a row, is begun no more.
SOON, OFTEN = 20.0, 3
ENDED = (0, 2, 130)  # done, bad input, stopped: nothing that beginning again would mend


def must_have_page() -> None:
    """Refuse where what labels and the page need is not installed.

    Raises:
        UserError: the message says what would do it.
    """
    missing = [name for name in ("alembic", "fastapi", "sqlalchemy", "uvicorn") if not _has(name)]
    if missing:
        raise UserError(
            f"{', '.join(missing)} missing, which labels and their page need: pip install "
            "'metarlhf[web]'"
        )


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def known(folder: Path) -> str | None:
    """The run's number among the labels; None: nothing was begun there."""
    try:
        return json.loads((folder / LESSON).read_bytes())["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def watch(options: Any, argv: Sequence[str]) -> int:
    """Keep both going until the agent has learned all, then the page for a while."""
    if options.run_dir is None and known(options.directory) and not options.resume:
        raise UserError(
            f"{options.directory} holds a lesson already: go on with --resume, or name another "
            "--run-dir"
        )
    _free(options)
    agent = _Process(lambda again: _agent(argv, again), "agent")
    page = None
    try:
        while True:
            status = agent.look()
            if status not in (None, 0):
                return int(status)
            if page is None and known(options.directory) is not None and _has_tables(options):
                page = _Process(lambda again: _page(options), "page")
                _invite(options)
            if page is not None and page.look() is not None:
                return 1
            if status == 0:
                _linger(options, page)
                return 0
            time.sleep(0.1)
    except KeyboardInterrupt:
        status = agent.wait()  # it heard the same Ctrl-C, and saves
        return 130 if status is None else int(status)
    finally:
        for process in (page, agent):
            if process is not None:
                process.end()


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
        self._failures = self._failures + 1 if time.monotonic() - self._at < SOON else 1
        if self._failures >= OFTEN:
            say(f"the {self.name}'s process ended {OFTEN} times (status {status}); giving up")
            return 1
        say(f"the {self.name}'s process ended (status {status}); it goes on from what is saved")
        time.sleep(0.2 * self._failures)
        self._start(again=True)
        return None

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
    words = list(argv) + (["--resume"] if again and "--resume" not in argv else [])
    program = "from metarlhf.cli import run; run()"
    environment = os.environ | {PART: "agent"}
    return subprocess.Popen([sys.executable, "-c", program, "teach", *words], env=environment)


def _page(options: Any) -> subprocess.Popen:
    run = known(options.directory)
    assert run is not None
    command = [
        sys.executable, "-m", "metarlhf.web.serve", "--run", run, "--host", options.host,
        "--port", str(options.port), "--report", str(options.directory / "report.html"),
        "--parent", str(os.getpid()),
    ]  # fmt: skip
    command += ["--tokens"] if options.annotators else []
    return subprocess.Popen(command, env=os.environ | {LABELS: options.url})


def _has_tables(options: Any) -> bool:
    """The agent's process makes them before it writes down its number."""
    return (options.directory / LESSON).exists()


def _invite(options: Any) -> None:
    """Say where the page is; whoever is invited gets a token, which is shown this once."""
    address = f"http://{options.host}:{options.port}/"
    for _ in range(100):
        try:
            urlopen(address, timeout=1).close()
            break
        except (URLError, OSError):
            time.sleep(0.1)
    if not options.annotators:
        say(f"Teach it at {address}")
        return
    from metarlhf.labels import Database, people

    run = known(options.directory)
    assert run is not None
    database = Database(options.url)
    with database.write() as connection:
        new = [name for name in options.annotators if not people.has_token(connection, run, name)]
        tokens = {name: people.invite(connection, run, name) for name in new}
    database.close()
    say("Each of these addresses is for one person, and is shown this once:")
    for name, token in tokens.items():
        say(f"  {name}: {address}#token={token}")
    for name in set(options.annotators) - set(new):
        say(f"  {name}: as before (`metarlhf annotators` gives a new one)")


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
    import socket

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
