"""What commands need beside the package itself, and how to get it."""

import importlib.util
from collections.abc import Sequence

from metarlhf.errors import UserError


def must_have_page() -> None:
    """Refuse where what labels and the page need is not installed.

    Raises:
        UserError: the message says what would do it.
    """
    _must_have(
        ("fastapi", "sqlalchemy", "sse_starlette", "uvicorn"), "labels and their page", "web"
    )


def must_have_film() -> None:
    """Refuse where what films of simulators need is not installed.

    Raises:
        UserError: the message says what would do it.
    """
    _must_have(("av", "gymnasium"), "films of simulators", "film")


def _must_have(modules: Sequence[str], what: str, extra: str) -> None:
    missing = [name for name in modules if not _has(name)]
    if missing:
        raise UserError(
            f"{', '.join(missing)} missing, which {what} need: pip install 'metarlhf[{extra}]'"
        )


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
