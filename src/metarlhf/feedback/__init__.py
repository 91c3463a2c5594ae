"""What people say: clips to show them, questions to ask, teachers that answer, answers kept."""

from metarlhf.feedback.library import Library as Library
from metarlhf.feedback.queries import Strategy as Strategy
from metarlhf.feedback.segments import blank as blank
from metarlhf.feedback.segments import cut as cut
from metarlhf.feedback.store import empty as empty
from metarlhf.feedback.store import record_comparison as record_comparison
from metarlhf.feedback.store import record_rating as record_rating
from metarlhf.feedback.teachers import TEACHERS as TEACHERS
from metarlhf.feedback.teachers import Teacher as Teacher
