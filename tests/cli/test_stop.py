"""Ctrl-C as the shell sees it: while XLA compiles, the process ends with status 130."""

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.slow
def test_a_stop_while_compiling_is_no_crash(tmp_path):
    command = [sys.executable, "-m", "metarlhf", "meta-train", "navigation", "--run-dir"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMP", "XLA"))}
    process = subprocess.Popen(
        [*command, str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # As a shell starts it: pytest's workers ignore the signal, and what they start would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    process.stderr.readline()  # "meta-training on ...": what follows is compiling
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in said
    assert "Traceback" not in said
