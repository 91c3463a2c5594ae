"""Teaching by people: a store of labels, a page on which they answer, an agent that learns.

`Database` opens a store. What can be done with it are functions of a connection: the loop's in
`questions`, the page's in `answering`; `people` says who they are, `transfer` writes files and
reads them. `HumanTeacher` is the loop's way to all of that, `TeachingSession` the loop, and
`Supervisor` runs agent, page and camera as processes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
