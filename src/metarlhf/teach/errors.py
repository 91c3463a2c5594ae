"""What can be wrong with labels."""


class LabelError(Exception):
    """The store cannot be used as asked; the message says why, and what to do."""


class Refused(LabelError):  # noqa: N818 - no error of the store's: somebody asked for too much
    """What somebody wants is not theirs, or not possible any more."""
