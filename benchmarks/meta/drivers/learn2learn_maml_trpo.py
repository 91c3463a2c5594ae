"""learn2learn's own example `maml_trpo.py`, as it comes, and how long each meta-iteration takes.

Run by its own interpreter as `learn2learn_maml_trpo.py EXAMPLES ITERATIONS TASKS TRAJECTORIES`;
EXAMPLES is the folder of the example. One iteration more is made first, which is not told of. Its
library imports torchvision and Pillow for what is about pictures: they are replaced by nothing, as
they do not matter here.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import time
import types
from itertools import pairwise

STUBBED = ("torchvision", "PIL")


class Nothing(types.ModuleType):
    """A module that has a class of whichever name is asked for."""

    __path__ = ()

    def __getattr__(self, name: str):
        """A class without content; what Python itself asks for is missing."""
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds nothing in the place of what is `STUBBED`."""

    def find_spec(self, name, path, target=None):
        stubbed = name.split(".")[0] in STUBBED
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if stubbed else None

    def create_module(self, spec):
        return Nothing(spec.name)

    def exec_module(self, module):
        pass


def run(examples: str, iterations: int, tasks: int, trajectories: int) -> dict:
    """Seconds and transitions of each of `iterations` meta-iterations."""
    sys.meta_path.insert(0, Stubs())
    sys.path.insert(0, examples)
    import maml_trpo

    begun, collected = [], [0]

    def in_turn(each, desc=None, **rest):
        """Instead of a progress bar, which is begun with every iteration."""
        if desc == "Data":
            begun.append((time.perf_counter(), collected[0]))
        return each

    class Runner(maml_trpo.ch.envs.Runner):
        """Counts transitions."""

        def run(self, *args, **rest):
            replay = super().run(*args, **rest)
            collected[0] += replay.reward().numel()
            return replay

    maml_trpo.tqdm, maml_trpo.ch.envs.Runner = in_turn, Runner
    maml_trpo.main(
        env_name="Particles2D-v1",
        meta_bsz=tasks,
        adapt_bsz=trajectories,
        num_iterations=iterations + 1,
    )
    begun.append((time.perf_counter(), collected[0]))
    parts = list(pairwise(begun[1:]))
    return {
        "seconds": [later[0] - earlier[0] for earlier, later in parts],
        "transitions": [later[1] - earlier[1] for earlier, later in parts],
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], *map(int, sys.argv[2:]))))
