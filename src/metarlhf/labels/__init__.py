"""The label store: what was asked, of whom, and what they said, in a database.

`Database` opens it. What can be done with it are functions of a connection, by who does it:
`asking` is the loop's side, `answering` the people's, `people` says who they are, `reading` what
came of it, `exporting` and `importing` take it elsewhere and back.
"""

from metarlhf.labels.database import Database as Database
from metarlhf.labels.errors import LabelError as LabelError
from metarlhf.labels.errors import Refused as Refused
from metarlhf.labels.records import Answer as Answer
from metarlhf.labels.records import Clip as Clip
from metarlhf.labels.records import Correction as Correction
from metarlhf.labels.records import Lease as Lease
from metarlhf.labels.records import NewQuestion as NewQuestion
from metarlhf.labels.records import Question as Question
