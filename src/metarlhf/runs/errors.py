"""What can go wrong that the person at the keyboard can mend."""


class UserError(Exception):
    """Says what was wrong, what was expected and what to do; shown without a traceback."""
