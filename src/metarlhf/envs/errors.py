"""What can be wrong with the name of an environment, or with what it names."""


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
