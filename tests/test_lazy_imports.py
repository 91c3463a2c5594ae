"""Nothing heavy is imported before it is used: help is quick, and so is `import metarlhf`."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import metarlhf
from metarlhf.cli.main import COMMANDS

HEAVY = ("jax", "numpy", "equinox", "optax", "matplotlib")
# Those of priors are not among them yet: their options follow from what the prior is.
LIGHT = sorted({*COMMANDS} - {"adapt", "evaluate", "rl2"})
ROOMS = ("ppo", "feedback", "reward", "rlhf", "meta", "contrib", "explain", "networks")
LAZY = ("matplotlib", "jinja2", "PIL", "orbax", "scipy.stats", "tensorboardX")
EXTRAS = ("metarlhf.teach.web",)
WHOLE = {"metarlhf.report", "metarlhf.explain", "metarlhf.runs"}


def test_nothing_that_packages_export_imports_what_only_drawing_or_saving_needs():
    packages = [
        module.name
        for module in pkgutil.walk_packages(metarlhf.__path__, "metarlhf.")
        if module.ispkg and not module.name.startswith(EXTRAS)
    ]
    program = (
        f"import importlib, sys\n"
        f"modules = {{name: importlib.import_module(name) for name in {packages!r}}}\n"
        f"all_of = lambda module: [getattr(module, name) for name in module.__all__]\n"
        f"print(sum(len(all_of(modules[name])) for name in {sorted(WHOLE)!r}))\n"
        f"print([name for name in {LAZY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    exported, loaded = done.stdout.splitlines()
    assert int(exported) > 50
    assert loaded == "[]"


@pytest.mark.parametrize("command", LIGHT)
def test_a_process_that_shows_help_imports_no_jax(command):
    program = (
        "import sys\n"
        "from metarlhf.cli import run\n"
        "try:\n"
        "    run()\n"
        "finally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    words = [sys.executable, "-c", program, command, "--help"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert f"usage: metarlhf {command}" in done.stdout, done.stderr
    assert done.stderr.strip() == "[]"


def test_the_package_and_its_settings_import_nothing_heavy():
    settings = [f"metarlhf.{room}.config" for room in ROOMS]
    program = (
        "import importlib, sys, metarlhf\n"
        f"for name in {settings!r}: importlib.import_module(name)\n"
        "from metarlhf import envs, meta, ppo, rlhf\n"
        "print(ppo.PPOConfig().num_envs, envs.names()[0], meta.preset('reacher').ten.labels)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["32 navigation 10", "[]"], done.stderr


def test_what_packages_export_is_there_and_a_function_hides_its_module():
    for name in (
        "metarlhf",
        *(f"metarlhf.{room}" for room in (*ROOMS, "envs", "sampling", "runs")),
    ):
        package = importlib.import_module(name)
        for exported in package.__all__:
            assert getattr(package, exported) is not None
    importlib.import_module("metarlhf.ppo.train")
    assert callable(metarlhf.ppo.train)
