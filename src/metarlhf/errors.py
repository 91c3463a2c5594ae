"""What can go wrong that the person at the keyboard can mend: messages without a traceback."""


class UserError(Exception):
    """Says what was wrong, what was expected and what to do; shown without a traceback."""


class Interrupted(Exception):  # noqa: N818 - no error: it was asked for
    """The person pressed Ctrl-C; what was done is saved."""


class SimulatorError(Exception):
    """Says what was wrong with somebody else's simulator, what was expected and what to do."""


class UnknownTaskError(ValueError):
    """No task family or environment of that name is known."""


class VariationError(UnknownTaskError):
    """What is to vary in a family is no parameter, cannot vary, or not in that way."""


class MissingSimulatorError(SimulatorError):
    """A simulator is an extra, and it is not installed."""

    def __init__(self, what: str, extra: str, error: ImportError | None = None):
        missing = getattr(error, "name", None)
        broken = f" ({error})" if missing not in (None, what) else ""
        super().__init__(
            f"{what} is not installed{broken}. It comes with the extra {extra!r}: "
            f"pip install 'metarlhf[{extra}]', or pip install '.[{extra}]' in a checkout"
        )


class MissingModuleError(UnknownTaskError):
    """There is no such module."""


class PublishedFileError(ValueError):
    """A published file is missing, damaged, was changed, or is of another kind or version."""


class WrongFamilyError(ValueError):
    """A prior was to be used on tasks of another family."""


class LabelError(Exception):
    """The store cannot be used as asked; the message says why, and what to do."""


class Refused(LabelError):  # noqa: N818 - no error of the store's: somebody asked for too much
    """What somebody wants is not theirs, or not possible any more."""
