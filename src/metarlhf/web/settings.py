"""What can be chosen about the page."""

from dataclasses import dataclass
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Who may come, and how fast.

    Attributes:
        needs_tokens: everybody signs in with a token; otherwise whoever reaches the page is "you".
        hosts: names that the page goes by; None: any, where tokens say who may come.
        report: what is shown at the end, once it is there.
        answers_per_second: of one person; twice as many at once.
        sign_ins_per_minute: that failed, from one address; further ones are refused unread.
    """

    needs_tokens: bool = False
    hosts: tuple[str, ...] | None = LOOPBACK
    report: Path | None = None
    answers_per_second: float = 20.0
    sign_ins_per_minute: float = 30.0
