"""Errors that a person can mend, in one message that says how."""

import errno


def explain(error: Exception) -> tuple[int, str] | None:
    """Exit status and message; None for what only a programmer can mend."""
    from metarlhf.envs.errors import SimulatorError, UnknownTaskError
    from metarlhf.files import PublishedFileError
    from metarlhf.meta.prior import WrongFamilyError
    from metarlhf.runs import Interrupted, UserError

    if type(error).__module__ == "metarlhf.teach.database":  # nothing is imported to ask
        return 2, str(error)
    if isinstance(error, Interrupted):
        return 130, str(error)
    mendable = (UserError, UnknownTaskError, SimulatorError, PublishedFileError, WrongFamilyError)
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
