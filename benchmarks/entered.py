"""Which files of the package a command enters: `python -m benchmarks.entered ppo navigation`.

Runs the command until its first training step has ended, and prints as JSON the files whose
functions were called

- `setup`: before the first network is made,
- `before`: before the first step of the environment,
- `update`: during the first training step, which JAX traces, so that all of it passes through
  Python. What evaluates is left out, with all that it calls.

A training step is the outermost call of a function (no generator) named in `STEPS`, an evaluation
one of `EVALUATES`; a step of the environment is a `step` in `envs`. Module and class bodies, and
what they call while they are imported, are not counted.
"""

import inspect
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

STEPS = {"step", "iterate", "iterate_many", "iterate_seeds"}
EVALUATES = {"evaluate", "evaluate_seeds", "true_return", "mean_return"}


class Watch:
    """A profile function that notes the files of one folder.

    Attributes:
        folder: where the package is.
        setup: files entered before the first network is made.
        before: files entered before the first step of the environment.
        update: files entered in the training step.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}{os.sep}"
        self.setup: set[str] = set()
        self.before: set[str] = set()
        self.update: set[str] = set()
        self._made = self._acted = False
        # Frames that are under way: bodies of modules and classes, the training step, evaluations.
        self._bodies, self._training, self._evaluating = 0, 0, 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Called by Python at each call and return."""
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(self.folder):
            return
        by = 1 if event == "call" else -1
        file = code.co_filename.removeprefix(self.folder)
        if not code.co_flags & inspect.CO_OPTIMIZED:
            self._bodies += by
        elif not self._bodies:
            self._function(code, file, by)

    def _function(self, code: CodeType, file: str, by: int) -> None:
        name = code.co_name
        # A generator of steps is the loop around them, with its callbacks.
        is_loop = code.co_flags & inspect.CO_GENERATOR
        if name in EVALUATES:
            self._evaluating += by
        elif name in STEPS and not file.startswith("envs") and not is_loop:
            self._training += by
            if not self._training and self._acted:
                self.end()
        self._acted |= name == "step" and file.startswith("envs")
        self._made |= file.startswith("networks")
        if by > 0 and not self._made:
            self.setup.add(file)
        if by > 0 and not self._acted:
            self.before.add(file)
        if by > 0 and self._training and not self._evaluating:
            self.update.add(file)

    def end(self) -> None:
        """Print what was found, and stop without more ado."""
        sys.setprofile(None)
        found = {"setup": self.setup, "before": self.before, "update": self.update}
        print(json.dumps({when: sorted(files) for when, files in found.items()}), flush=True)
        os._exit(0)


def main(argv: list[str]) -> None:
    """Run the command and watch it."""
    import metarlhf
    from metarlhf.cli import run

    watch = Watch(Path(str(metarlhf.__file__)).parent)
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = ["metarlhf", *argv, "--run-dir", f"{folder}/run"]
        threading.setprofile(watch)
        sys.setprofile(watch)
        run()
    sys.exit("the command ended before a training step did")


if __name__ == "__main__":
    main(sys.argv[1:])
