"""Clips as bytes: safetensors, which hold arrays and nothing that could be run."""

import hashlib

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from metarlhf.envs.replays import Replay
from metarlhf.labels.errors import LabelError

# Of a clip that is read from outside; a picture of 84 x 84 bytes for 500 steps has 3.5 million.
LARGEST = 64 * 2**20


def pack(arrays: dict[str, np.ndarray]) -> bytes:
    """The arrays in one piece."""
    return save({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})


def unpack(blob: bytes) -> dict[str, np.ndarray]:
    """What `pack` was given.

    Raises:
        LabelError: it is no such piece, has no steps, or arrays of different lengths.
    """
    if len(blob) > LARGEST:
        raise LabelError(f"a clip has {len(blob)} bytes, more than the {LARGEST} that one may have")
    try:
        arrays = load(blob)
    except (SafetensorError, KeyError, ValueError) as error:  # or of a type that NumPy has not
        raise LabelError(f"a clip is not in the safetensors format: {error}") from error
    steps = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if not {"obs", "action"} <= arrays.keys() or len(steps) != 1 or 0 in steps:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise LabelError(
            f"a clip has the arrays {shapes}; expected obs and action with as many steps each"
        )
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise LabelError(f"{name} of a clip holds a number that is not finite")
    return arrays


def pack_replay(replay: Replay) -> bytes:
    """How to see an episode again, in one piece."""
    numbers = np.array([replay.seed, replay.start], np.int64)
    return save({"actions": np.ascontiguousarray(replay.actions), "seed_and_start": numbers})


def unpack_replay(blob: bytes) -> Replay:
    """What `pack_replay` was given.

    Raises:
        LabelError: it is no such piece.
    """
    try:
        arrays = load(blob)
        actions, (seed, start) = arrays["actions"], arrays["seed_and_start"].tolist()
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LabelError(f"a clip's replay is not in the safetensors format: {error}") from error
    if not actions.ndim or not 0 <= start < len(actions):
        raise LabelError(f"a clip's replay begins with step {start} of {actions.shape} actions")
    return Replay(seed, actions, start)


def digest(blob: bytes) -> str:
    """By which a clip is known."""
    return hashlib.sha256(blob).hexdigest()
