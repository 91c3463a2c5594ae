from .database import Database as Database
from .records import Answer as Answer
from .records import Clip as Clip
from .records import Correction as Correction
from .records import Lease as Lease
from .records import NewQuestion as NewQuestion
from .records import Question as Question
