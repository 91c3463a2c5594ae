"""Drawing, pages and checkpoints cost nothing before they are used."""

import pkgutil
import subprocess
import sys

import metarlhf

LAZY = ("matplotlib", "jinja2", "PIL", "orbax", "scipy.stats", "tensorboardX")
EXTRAS = ("metarlhf.teach.web",)


def test_no_package_imports_what_only_drawing_or_saving_needs():
    packages = [
        module.name
        for module in pkgutil.walk_packages(metarlhf.__path__, "metarlhf.")
        if module.ispkg and not module.name.startswith(EXTRAS)
    ]
    program = (
        f"import importlib, sys\n"
        f"for name in {packages!r}: importlib.import_module(name)\n"
        f"print([name for name in {LAZY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert {"metarlhf.report", "metarlhf.explain", "metarlhf.runs"} <= set(packages)
