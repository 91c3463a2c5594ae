"""The label store: what was asked, of whom, and what they said, in a database.

`Database` opens it. What can be done with it are functions of a connection, by who does it:
`asking` is the loop's side, `answering` the people's, `people` says who they are, `reading` what
came of it, `exporting` and `importing` take it elsewhere and back.
"""

from metarlhf.teach.database import Database as Database
from metarlhf.teach.errors import LabelError as LabelError
from metarlhf.teach.errors import Refused as Refused
from metarlhf.teach.records import Answer as Answer
from metarlhf.teach.records import Clip as Clip
from metarlhf.teach.records import Correction as Correction
from metarlhf.teach.records import Lease as Lease
from metarlhf.teach.records import NewQuestion as NewQuestion
from metarlhf.teach.records import Question as Question
