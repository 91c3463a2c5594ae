"""learn2learn 0.2.0 in an environment of its own, built from its sources.

Its last release brings C files that an old Cython made, which no Python of today compiles: they are
made anew from its Cython sources. Its examples come with the sources alone.
"""

import json
import os
import subprocess
import tarfile
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.ppo.peers import ENVIRONMENTS, PATIENCE, Peer, interpreter, surroundings

SOURCES = ("learn2learn==0.2.0", "cherry-rl==0.2.0")
LEARN2LEARN = Peer(
    "learn2learn",
    "learn2learn_maml_trpo",
    updates=3,
    environment="learn2learn",
    # The last Gym whose steps return four values, as both expect, and a NumPy of its time.
    requirements=(
        "torch==2.13.0", "gym==0.23.1", "numpy<2", "cython<3.1", "setuptools<80", "wheel",
        "tqdm", "scipy", "requests", "cloudpickle", "six", "dotmap",
    ),
    drivers="benchmarks.meta.drivers",
)  # fmt: skip


def examples() -> tuple[str, Path]:
    """The Python that has learn2learn, and the folder of its examples; built if it is not there."""
    python = interpreter(LEARN2LEARN)
    folder = ENVIRONMENTS / "learn2learn" / "sources"
    built, wanted = folder / "built.txt", "\n".join(SOURCES)
    if not built.exists() or built.read_text(encoding="utf-8") != wanted:
        _build(python, folder)
        built.write_text(wanted, encoding="utf-8")  # last: half a build is none
    return python, folder / "learn2learn-0.2.0" / "examples" / "rl"


def _build(python: str, folder: Path) -> None:
    print(f"building {', '.join(SOURCES)} in {folder}", flush=True)
    folder.mkdir(exist_ok=True)
    pip = [python, "-m", "pip"]
    download = ["download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary=:all:"]
    subprocess.run([*pip, *download, *SOURCES], check=True, cwd=folder)
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    cython = sorted(folder.glob("learn2learn-*/learn2learn/data/*.pyx"))
    subprocess.run([python, "-m", "cython", "-3", *cython], check=True)
    unpacked = [path for path in folder.iterdir() if path.is_dir()]
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", *unpacked]
    subprocess.run([*pip, *install], check=True)


def iterations(count: int, tasks: int, trajectories: int) -> dict:
    """Seconds and transitions of each of `count` meta-iterations of its example.

    Raises:
        RuntimeError: it failed.
    """
    python, folder = examples()
    driver = ROOT / "benchmarks" / "meta" / "drivers" / f"{LEARN2LEARN.driver}.py"
    command = [python, driver, folder, *map(str, (count, tasks, trajectories))]
    # It looks for a newer Gym at every start otherwise.
    env = surroundings(LEARN2LEARN) | {"NO_GYM_UPDATE": os.environ.get("NO_GYM_UPDATE", "1")}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=PATIENCE
    )
    if done.returncode != 0:
        raise RuntimeError(f"learn2learn's example failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
