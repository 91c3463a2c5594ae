"""Seconds that `metarlhf explain` takes on a finished run, in a process of its own.

Nothing is compiled before, and starting Python is in it. The run is of `metarlhf adapt`, with ten
comparisons; the figure is the median of three times.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.few_shot import FAMILIES, Plan, prior_of, prior_path
from benchmarks.harness import Result, Stopwatch

ROW = "explain-time"


def measure(options):
    """One figure for each family."""
    plan = Plan.of(options)
    environment = {n: value for n, value in os.environ.items() if not n.startswith("JAX_COMP")}
    command = [sys.executable, "-m", "metarlhf"]
    for name in FAMILIES:
        config = plan.preset(name).joint
        prior_of(name, 0, config)
        prior = prior_path(name, 0, config)
        with tempfile.TemporaryDirectory() as folder:
            run, times = str(Path(folder) / "run"), []
            subprocess.run([*command, "adapt", str(prior), "--run-dir", run], check=True)
            for _ in range(1 if options.quick else 3):
                watch = Stopwatch()
                subprocess.run([*command, "explain", run], env=environment, check=True)
                times.append(watch.seconds)
            size = (Path(run) / "explain.html").stat().st_size
        yield Result(
            ROW,
            name,
            float(np.median(times)),
            unit="s",
            must=20,
            better="lower",
            seeds=(0,),
            details={"times": np.round(times, 2), "page_bytes": size},
        )
