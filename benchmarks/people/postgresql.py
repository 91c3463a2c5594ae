"""A PostgreSQL server of one's own, for as long as it is needed: Debian's programs, no network."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACE = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, of the newest release; None where there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = list(PLACE.glob("*/bin/initdb"))
    return max(versions, key=lambda path: int(path.parts[-3])).parent if versions else None


@contextmanager
def server() -> Iterator[str]:
    """The URL of a new, empty database, on a socket in a folder of its own.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    found = programs()
    if found is None:
        raise RuntimeError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # The server refuses to be root, and who is not root needs to be nobody else.
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(folder, "postgres")
    data, options = folder / "data", f"-k {folder} -c listen_addresses="
    run = lambda *words: subprocess.run([*other, *words], check=True, capture_output=True)
    run(found / "initdb", "-D", data, "-A", "trust", "-U", "tester", "-E", "UTF8")
    control = [found / "pg_ctl", "-D", data, "-w"]
    run(*control, "-o", options, "-l", folder / "log", "start")
    try:
        yield f"postgresql://tester@/postgres?host={folder}"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
