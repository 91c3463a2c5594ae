"""What takes long to make, kept in runs/benchmarks/cache by what it was made with.

So rows share what they have in common, and a row that was stopped goes on where it was. The name of
what is kept has a digest of the arguments it was made with and of the code that made it, as far as
it computes (`benchmarks.code`): a change of that code makes another name, a change of anything else
does not. `rm -r runs/benchmarks` makes everything anew.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.code import Code, Source
from benchmarks.harness import ROOT

CACHE = ROOT / "runs" / "benchmarks" / "cache"
HERE = Code()


def path_of(
    kind: str, name: str, *made_with: Any, made_by: Iterable[Source], code: Code = HERE
) -> Path:
    """Where it is kept.

    Args:
        kind: what it is, the first part of its name.
        name: of which task or run, the second.
        made_with: all that it depends on: numbers, texts, configurations, arrays.
        made_by: the functions that make it, or full names of modules that other processes run;
            empty where another library makes it, which `made_with` names.
        code: the checkout whose code it is, this one by default.
    """
    types = {t.__module__ + "." + t.__qualname__ for t in _types(made_with)}
    ours = sorted(name for name in types if name.startswith(("metarlhf.", "benchmarks.")))
    made = _plain(made_with) + jax.__version__
    made_by = tuple(made_by)
    if made_by:
        made += code.digest([*made_by, *ours])
    return CACHE / f"{kind}-{name}-{hashlib.sha256(made.encode()).hexdigest()[:12]}"


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


def _parts(value: Any) -> dict[str, Any] | None:
    """Fields of a configuration, by name; None where it has none."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return value._asdict() if hasattr(value, "_asdict") else None


def _types(value: Any) -> Iterator[type]:
    yield type(value)
    parts = _parts(value)
    if parts is not None or isinstance(value, tuple | list | dict):
        inner = parts if parts is not None else value
        for one in inner.values() if isinstance(inner, dict) else inner:
            yield from _types(one)


def _plain(value: Any) -> str:
    """Like `repr`, without the names of classes, and with all numbers of an array."""
    parts = _parts(value)
    if parts is not None:
        return f"({', '.join(f'{name}={_plain(part)}' for name, part in parts.items())})"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(k)}: {_plain(v)}' for k, v in value.items())}}}"
    if isinstance(value, np.ndarray | jax.Array):
        return repr(np.asarray(value).tolist())
    return repr(value)
