"""Checkpoints of any pytree of arrays, random keys included, by Orbax; the last two are kept."""

from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from metarlhf import files
from metarlhf.errors import UserError

T = TypeVar("T")


class Checkpoints:
    """States by step. A half-written one is never read: Orbax renames it when it is whole."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self._manager: Any = None

    def _orbax(self) -> Any:
        if self._manager is None:
            # Imported here: it takes seconds, and most commands never write a checkpoint.
            import orbax.checkpoint as ocp

            self._manager = ocp.CheckpointManager(
                self.folder,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=2, create=True, enable_async_checkpointing=False
                ),
            )
        return self._manager

    def save(self, step: int, state: Any) -> None:
        """Keep `state` as what there was after `step`.

        Raises:
            OSError: there is no room for it.
        """
        import orbax.checkpoint as ocp

        if step not in self._orbax().all_steps():
            # Orbax refuses arrays without a number in them, which need not be kept either.
            arrays = {str(i): leaf for i, leaf in enumerate(_plain_leaves(state)) if leaf.size}
            self._make_sure_of_room(sum(leaf.nbytes for leaf in arrays.values()))
            self._orbax().save(step, args=ocp.args.StandardSave(arrays))

    def _make_sure_of_room(self, size: int) -> None:
        """Fail on a full disk in one error: Orbax's threads would each print a traceback of it."""
        room = self.folder / ".room"
        files.write_bytes(room, bytes(size + 2**18))
        room.unlink()

    def restore(self, like: T) -> tuple[int, T] | None:
        """The newest state that can be read, in the structure of `like`; None if there is none.

        Raises:
            UserError: there are some, and none can be read.
        """
        if not self.folder.exists():
            return None
        import orbax.checkpoint as ocp

        leaves = _plain_leaves(like)
        expected = {
            str(i): jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for i, leaf in enumerate(leaves)
            if leaf.size
        }
        steps = sorted(self._orbax().all_steps(), reverse=True)
        for number, step in enumerate(steps):
            try:
                arrays = self._orbax().restore(step, args=ocp.args.StandardRestore(expected))
            except Exception:
                continue
            for damaged in steps[:number]:  # What is done again is saved again.
                self._orbax().delete(damaged)
            # By way of NumPy, as Orbax ties arrays to a device: steps would be compiled anew.
            found = [jnp.asarray(np.asarray(arrays.get(str(i), x))) for i, x in enumerate(leaves)]
            return step, _like(like, found)
        if steps:
            raise UserError(
                f"no checkpoint in {self.folder} can be read: they are damaged, or of another "
                "version. Begin anew in another --run-dir"
            )
        return None


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain_leaves(tree: Any) -> list[jax.Array]:
    """Leaves as arrays of numbers: a random key as its data."""
    return [
        jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def _like(tree: T, leaves: list[jax.Array]) -> T:
    restored = [
        jax.random.wrap_key_data(new, impl=jax.random.key_impl(old)) if _is_key(old) else new
        for old, new in zip(jax.tree.leaves(tree), leaves, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), restored)
