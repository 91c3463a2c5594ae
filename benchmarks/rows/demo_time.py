"""Seconds from `metarlhf demo` to its report, in a directory of its own, with nothing compiled.

Meta-training, teaching, learning from scratch and PPO with the true reward are all in it; setting
up `.venv` is not.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Result, Stopwatch

ROW = "demo-time"
QUICK = ["--joint.iterations=2", "--tasks=2", "--scratch-tasks=0", "--oracle.total-steps=20000"]


def measure(options):
    """Wall clock of the command as it stands in the README."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "demo"
        command = [sys.executable, "-m", "metarlhf", "demo", "--run-dir", str(run)]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")
        }
        watch = Stopwatch()
        subprocess.run(command + options.quick * QUICK, env=environment, check=True)
        seconds = watch.seconds
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return Result(
        ROW,
        result["family"],
        seconds,
        unit="s",
        must=300,
        aim=120,
        better="lower",
        seeds=(result["seed"],),
        details={
            "meta_training_seconds": result["meta_seconds"],
            "normalised_return": result["normalised_return"],
            "scratch_labels_ratio": result["scratch_labels_ratio"],
            "scratch_steps_ratio": result["scratch_steps_ratio"],
        },
    )
