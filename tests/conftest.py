"""What every test runs under: shapes checked, compiled programs kept, no accelerator."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

# Before JAX is imported, which reads these once. A CPU repeats itself bit for bit.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# So that tasks are spread over devices, as `meta-train` spreads them.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
# Compiling is most of what the tests do. Small programs compile faster than they are read back.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
# Programs that run once, for a moment, are not worth polishing: so they take a third of the time to
# compile. XLA ends a process that names a flag it does not know, and some are of one version alone.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10."),
)

from jaxtyping import install_import_hook

# For the whole session and never uninstalled: every annotated function of the package, whenever it
# is imported, has the shapes and types of its arguments and results checked.
install_import_hook("metarlhf", "beartype.beartype")


def pytest_configure():
    from metarlhf.devices import in_the_foreground

    in_the_foreground()


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs():
    """A process may hold only so many pieces of executable memory: beyond it, it is killed."""
    import jax

    yield
    jax.clear_caches()
