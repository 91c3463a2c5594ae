"""What people say: clips to show them, questions to ask, teachers that answer, answers kept."""

from metarlhf.feedback.clips import Library as Library
from metarlhf.feedback.clips import blank as blank
from metarlhf.feedback.clips import cut as cut
from metarlhf.feedback.clips import empty as empty
from metarlhf.feedback.clips import record_comparison as record_comparison
from metarlhf.feedback.clips import record_rating as record_rating
from metarlhf.feedback.config import TEACHERS as TEACHERS
from metarlhf.feedback.config import Strategy as Strategy
from metarlhf.feedback.config import Teacher as Teacher
