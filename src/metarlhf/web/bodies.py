"""What the page sends."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from metarlhf.labels import answering

REQUEST = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
NUMBER = Field(ge=0, le=2**31 - 1)


class Strict(BaseModel):
    """Nothing is taken that is not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(Strict):
    """Who comes; the token is what an invitation gave, none at one's own machine."""

    token: str | None = Field(None, max_length=200)


class Given(Strict):
    """An answer. `request` is made up by the page, so that asking twice is answering once."""

    question: int = NUMBER
    request: str = REQUEST
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    choice: Literal["left", "right", "equal", "skip"] | None = None
    mark: int | None = Field(None, ge=1, le=answering.LEVELS)


class Undone(Strict):
    """What takes an answer back; the same `request` again takes back nothing more."""

    request: str = REQUEST


class Marked(Strict):
    """A moment of a clip that was bad."""

    clip: int = NUMBER
    step: int = NUMBER
    request: str = REQUEST
