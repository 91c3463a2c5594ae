"""A run's directory: who uses it, what it was begun with, and all that it has written.

config.json      what was asked for; a run is continued with the same or not at all
config.toml      the same as a command's options, which begins such a run again
metrics.jsonl    one JSON object a line, as training goes on
tensorboard/     the same for TensorBoard, where asked for
checkpoints/     the last two states
stages/          results of finished parts, which are not computed again
clock.json       how long it took so far, over all sittings
result.json      what came out, written last
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from metarlhf import files
from metarlhf.errors import UserError
from metarlhf.runs.checkpoint import Checkpoints
from metarlhf.runs.metrics import MetricsLog

Arrays = Mapping[str, Any]
Tree = TypeVar("Tree")

# Differences between two configurations that an error names: more are those of another command.
NAMED = 5


class RunDirectory:
    """Open while it lives: no other process gets it meanwhile, and none cleans up after it."""

    def __init__(
        self,
        path: Path,
        config: Any,
        *,
        resume: bool = False,
        upgrade: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ):
        """Begin a run in `path`, or continue the one that is there.

        Args:
            path: made if it is not there.
            config: all that decides what the run does, a dataclass or a dictionary.
            resume: continue; without it a directory that holds a run is refused.
            upgrade: from what a run was begun with by an earlier version to what this one calls it.

        Raises:
            UserError: the directory is in use, holds a run already, or one begun with another
                configuration.
        """
        self.path = path
        self._sat_down = time.monotonic()
        # As it will be read back: infinity, for one, is a word in JSON.
        wanted = json.loads(json.dumps(_plain(config), default=str), parse_constant=str)
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file: name another --run-dir")
        begun = (path / "config.json").exists()
        if not begun and path.exists() and any(map(_is_foreign, os.listdir(path))):
            raise UserError(
                f"{path} holds other files than a run's: name an empty or a new --run-dir"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} cannot be made ({error.strerror}): name another --run-dir"
            ) from error
        self.metrics = MetricsLog(path / "metrics.jsonl")
        self._lock = _lock(path)
        try:
            self._begin(wanted, begun, resume, upgrade)
        except BaseException:
            self.close()
            raise
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._before = _seconds_in(path)

    def _begin(self, wanted: dict[str, Any], begun: bool, resume: bool, upgrade: Any) -> None:
        if not begun:
            files.write_json(self.path / "config.json", wanted)
        elif resume:
            _same(self.path, wanted, upgrade)
        else:
            raise UserError(
                f"{self.path} holds a run already: continue it with --resume, or name another "
                "--run-dir"
            )

    @property
    def seconds(self) -> float:
        """How long it took so far, with what was kept of it before it was continued."""
        return self._before + time.monotonic() - self._sat_down

    def save(self, step: int, state: Any) -> None:
        """Keep `state` as what there was after `step`."""
        self.checkpoints.save(step, state)
        self._keep_time()

    def _keep_time(self) -> None:
        if self.result is None:  # else somebody looks at it again
            files.write_json(self.path / "clock.json", {"seconds": self.seconds})

    @property
    def result(self) -> dict[str, Any] | None:
        """What came out, if the run is finished."""
        path = self.path / "result.json"
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} is damaged: remove it, and --resume writes it anew from what was saved"
            ) from error

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """Write result.json; returns it as it will be read back."""
        self._keep_time()
        files.write_json(self.path / "result.json", result)
        found = self.result
        assert found is not None
        return found

    def keep(self, name: str, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
        """What `make` returns: made once, and read back when the run is continued."""
        path = self.path / "stages" / f"{name}.safetensors"
        if path.exists():
            try:
                return load_arrays(path.read_bytes())
            except SafetensorError:
                path.unlink()  # Damaged: it can be made again.
        arrays = {key: np.asarray(value, order="C") for key, value in make().items()}
        files.write_bytes(path, save_arrays(arrays))
        self._keep_time()
        return arrays

    def keep_tree(self, name: str, like: Tree, make: Callable[[], Tree]) -> Tree:
        """As `keep`, of a pytree of the structure of `like`."""
        leaves, structure = jax.tree.flatten(like)
        found = self.keep(
            name, lambda: dict(zip(_numbers(leaves), jax.tree.leaves(make()), strict=True))
        )
        return jax.tree.unflatten(structure, [jnp.asarray(found[i]) for i in _numbers(leaves)])

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End its logs, and let others use the directory."""
        try:
            self.metrics.close()
        finally:
            os.close(self._lock)


def _numbers(leaves: Sequence[Any]) -> list[str]:
    """What leaves are called in a file."""
    return [str(i) for i in range(len(leaves))]


def _lock(path: Path) -> int:
    """A lock that ends with the process, however it ends."""
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(lock, 20).decode() or "unknown"
        os.close(lock)
        raise UserError(
            f"{path} is in use by process {owner}: wait for it, end it, or name another --run-dir"
        ) from error
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _is_foreign(name: str) -> bool:
    """Whether a file is none that a run leaves which was killed as it began."""
    return name != ".lock" and not (name.startswith(".config.json.") and name.endswith(".tmp"))


def _plain(config: Any) -> Any:
    return asdict(config) if is_dataclass(config) and not isinstance(config, type) else config


def _same(path: Path, wanted: dict[str, Any], upgrade: Any) -> None:
    """Refuse to continue a run that was begun with another configuration."""
    try:
        begun_with = upgrade(json.loads((path / "config.json").read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(
            f"{path / 'config.json'} is damaged: begin anew in another --run-dir"
        ) from error
    if begun_with.keys() != wanted.keys():
        raise UserError(
            f"{path} holds a run of another command, or of another version of this one, with other "
            f"options ({_some(begun_with.keys() ^ wanted.keys())}): resume it with that, or name "
            "another --run-dir"
        )
    differ = [
        f"{name} was {old!r}, is {new!r}"
        for name, (old, new) in _differences(begun_with, wanted).items()
    ]
    if differ:
        raise UserError(
            f"{path} was begun with another configuration ({_some(differ, '; ')}): "
            "resume with the same, or begin anew in another --run-dir"
        )


def _some(all_of_them: Iterable[str], between: str = ", ") -> str:
    """The first few, and how many more there are."""
    each = sorted(all_of_them)
    more = len(each) - NAMED
    return between.join(each[:NAMED]) + (f"{between}and {more} more" if more > 0 else "")


def _seconds_in(path: Path) -> float:
    """What the clock said when the run was stopped."""
    try:
        return float(json.loads((path / "clock.json").read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0  # it is told, and nothing hangs on it


def _differences(old: Any, new: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = {}
        for key in old.keys() | new.keys():
            found |= _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        return found
    return {} if old == new else {name: (old, new)}
