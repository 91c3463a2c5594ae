"""Drawing, pages and checkpoints cost nothing before they are used."""

import pkgutil
import subprocess
import sys

import metarlhf

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
