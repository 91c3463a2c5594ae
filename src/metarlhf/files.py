"""Files that are whole or not there: atomic writes, and pytrees published as safetensors and JSON.

Nothing is pickled: weights are plain arrays in safetensors, what they mean is JSON beside them.
JAX and NumPy are imported when arrays are read or written, not before.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from metarlhf.errors import PublishedFileError

VERSION = 1
WEIGHTS, DESCRIPTION = "weights.safetensors", "description.json"
T = TypeVar("T")


def write_bytes(path: Path, content: bytes) -> None:
    """Write all of `content` or leave the file as it was, power cuts included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """As `write_bytes`; NumPy's and JAX's arrays and scalars are written as Python's."""
    write_text(path, json.dumps(content, indent=2, default=_plain, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON; give plain values")


def leaf_names(tree: Any) -> list[str]:
    """A name for every array of a pytree, from where it stands."""
    import jax

    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path) for path, _ in paths]


def publish(folder: Path, tree: Any, description: dict[str, Any]) -> Path:
    """Write the arrays of `tree`, and `description` with what is needed to check them.

    The description is written last and holds the weights' hash, so that a pair which does not
    belong together, whatever happened in between, is told from one that does.
    """
    import jax
    import numpy as np
    from safetensors.numpy import save

    arrays = {
        name: np.asarray(leaf)
        for name, leaf in zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
    }
    weights = save(arrays)
    write_bytes(folder / WEIGHTS, weights)
    checked = {
        "version": VERSION,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
    }
    write_json(folder / DESCRIPTION, description | checked)
    return folder


def kind(folder: Path) -> str | None:
    """What the description in `folder` says that it describes; None if there is no telling."""
    try:
        return json.loads((folder / DESCRIPTION).read_bytes())["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest(folder: Path) -> str | None:
    """SHA-256 of the weights that `publish` wrote into `folder`, as its description says."""
    try:
        return json.loads((folder / DESCRIPTION).read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe(folder: Path, kind: str) -> dict[str, Any]:
    """The description in `folder`, which must be of `kind`.

    Raises:
        PublishedFileError: it is missing, no JSON, or of another kind or version.
    """
    path = folder / DESCRIPTION
    description = _guarded(path, lambda content: json.loads(content.decode("utf-8")))
    found = description.get("kind") if isinstance(description, dict) else None
    if found != kind:
        raise PublishedFileError(f"{path} describes {found or 'nothing known'!r}, not a {kind}")
    if description.get("version") != VERSION:
        raise PublishedFileError(
            f"{path} is of version {description.get('version')}, this program reads {VERSION}: "
            "use the release that wrote it, or make it anew"
        )
    return description


def shape_in(folder: Path, description: dict[str, Any], kind: Callable[..., T], what: str) -> T:
    """What the description in `folder` says of the shape of its arrays, as a dataclass `kind`.

    Raises:
        PublishedFileError: nothing that makes sense; `what` names in words what is described.
    """
    try:
        entries = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in description["shape"].items()
        }
        return kind(**entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PublishedFileError(
            f"{folder / DESCRIPTION} does not say of what shape the {what} is: it was changed. "
            "Fetch it anew"
        ) from error


def read(folder: Path, like: T, description: dict[str, Any]) -> T:
    """The arrays in `folder`, in the structure of `like` (arrays, or their shapes only).

    Raises:
        PublishedFileError: they are missing, truncated, changed, or of other shapes.
    """
    import jax
    import jax.numpy as jnp
    from safetensors.numpy import load

    path = folder / WEIGHTS

    def parse(content: bytes) -> dict[str, Any]:
        if hashlib.sha256(content).hexdigest() != description.get("sha256"):
            raise PublishedFileError(
                f"{path} is not what {DESCRIPTION} beside it was written for (its SHA-256 "
                "differs): it is truncated or was changed. Fetch both files anew"
            )
        return load(content)

    arrays = _guarded(path, parse)
    leaves = []
    for name, leaf in zip(leaf_names(like), jax.tree.leaves(like), strict=True):
        if name not in arrays or arrays[name].shape != leaf.shape:
            found = arrays[name].shape if name in arrays else "nothing"
            raise PublishedFileError(f"{path} holds {found} as {name}, expected {leaf.shape}")
        leaves.append(jnp.asarray(arrays[name]))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _guarded(path: Path, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of a file; one kind of error for all that can be wrong with it."""
    from safetensors import SafetensorError

    try:
        return parse(path.read_bytes())
    except FileNotFoundError as error:
        raise PublishedFileError(
            f"there is no {path}: expected a folder with {WEIGHTS} and {DESCRIPTION}"
        ) from error
    except PublishedFileError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        raise PublishedFileError(f"{path} cannot be read: {error}. Fetch it anew") from error
