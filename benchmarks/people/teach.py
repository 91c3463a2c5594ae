"""`metarlhf teach` as a process of its own, its page on a free port of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

PROGRAM = "from metarlhf.cli import run; run()"


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Teach:
    """The command, begun; `wait` for its end or `stop` it as Ctrl-C does."""

    def __init__(self, folder, *options, port=None):
        self.folder, self.port = folder, port or free_port()
        self.options = options
        self.begin()

    def begin(self, *more):
        words = [*self.options, "--run-dir", str(self.folder), "--port", str(self.port), *more]
        self.log = self.folder.with_suffix(".log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "teach", *words],
            stderr=self.log, stdout=self.log, start_new_session=True,
        )  # fmt: skip

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        """What it has printed."""
        return self.folder.with_suffix(".log").read_text()

    def until_open(self, seconds=120):
        end = time.monotonic() + seconds
        while True:
            try:
                urlopen(self.address, timeout=2).close()
                return self
            except OSError:
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < end, self.said()
                time.sleep(0.1)

    def children(self):
        """The page's process, the camera's and the agent's, by what they run."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{entry}/cmdline") as file:
                    words = file.read()
            except OSError:
                continue
            if parent == self.process.pid:
                parts = {"metarlhf.teach.web.serve": "page", "metarlhf.teach.films": "camera"}
                found[next((parts[p] for p in parts if p in words), "agent")] = int(entry)
        return found

    def wait(self, seconds=120):
        return self.process.wait(seconds)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()


@contextmanager
def teaching(folder: Path, *options: str) -> Iterator[Teach]:
    """The command, stopped when done with."""
    begun = Teach(folder, *options)
    try:
        yield begun
    finally:
        begun.stop()
