"""What takes long to make, kept in runs/benchmarks/cache by what it was made with.

So rows share what they have in common, and a row that was stopped goes on where it was. A change of
the code that computes makes another name; `rm -r runs/benchmarks` makes everything anew.
"""

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.harness import ROOT

# Rooms of the library that compute nothing.
BESIDE = {"cli", "explain", "labels", "report", "runs", "web"}
CACHE = ROOT / "runs" / "benchmarks" / "cache"


@cache
def code() -> str:
    """All that computes: the library without its comments, docstrings and commands, and JAX."""
    text = [jax.__version__]
    library = ROOT / "src" / "metarlhf"
    for path in sorted(library.rglob("*.py")):
        # Presets are part of what the figures are made with.
        if path.name == "presets.py" or BESIDE & set(path.relative_to(library).parts):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [x for x in body if not _is_text(x)]  # type: ignore[attr-defined]
        text.append(ast.dump(tree))
    return "".join(text)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def path_of(kind: str, name: str, *made_with: Any, ours: bool = True) -> Path:
    """Where it is kept; `ours` says that our own code made it, by which it is named too."""
    made = repr(made_with) + (code() if ours else "")
    digest = hashlib.sha256(made.encode()).hexdigest()[:12]
    return CACHE / f"{kind}-{name}-{digest}"


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, np.ndarray]:
    """Arrays in `path`, made if they are not there."""
    path = path.with_suffix(".npz")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, **make())
        temporary.rename(path)
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
