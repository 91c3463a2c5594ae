"""Errors that a person can mend, in one message that says how."""

import errno

from metarlhf.errors import (
    Interrupted,
    LabelError,
    PublishedFileError,
    SimulatorError,
    UnknownTaskError,
    UserError,
    WrongFamilyError,
)


def explain(error: Exception) -> tuple[int, str] | None:
    """Exit status and message; None for what only a programmer can mend."""
    if isinstance(error, Interrupted):
        return 130, str(error)
    mendable = (
        UserError, UnknownTaskError, SimulatorError, PublishedFileError, WrongFamilyError,
        LabelError,
    )  # fmt: skip
    if isinstance(error, mendable):
        return 2, str(error)
    # Orbax and Safetensors wrap what the system said in errors of their own.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "No space left on device" in str(error) or "File too large" in str(error):
        return 2, (
            f"the disk is full ({error}): what was written before is whole. Make room, then go on "
            "with the same command and --resume"
        )
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return 2, f"{error.filename or error}: {error.strerror}; name another --run-dir"
    return None
