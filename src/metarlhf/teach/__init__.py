"""Teaching by people: a store of labels, a page on which they answer, an agent that learns.

`Database` opens a store. What can be done with it are functions of a connection: the loop's in
`questions`, the page's in `answering`; `people` says who they are, `transfer` writes files and
reads them. `supervise` runs the
page, the agent and the camera as processes.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarlhf.teach.database import Database as Database
    from metarlhf.teach.database import LabelError as LabelError
    from metarlhf.teach.database import Refused as Refused
    from metarlhf.teach.records import Answer as Answer
    from metarlhf.teach.records import Clip as Clip
    from metarlhf.teach.records import Correction as Correction
    from metarlhf.teach.records import Lease as Lease
    from metarlhf.teach.records import NewQuestion as NewQuestion
    from metarlhf.teach.records import Question as Question

_HOMES = {
    "database": ("Database", "LabelError", "Refused"),
    "records": ("Answer", "Clip", "Correction", "Lease", "NewQuestion", "Question"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: it needs the extra `web`."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"metarlhf.teach.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
