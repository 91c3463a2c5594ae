"""The tables of the label store. A release that changes them raises `VERSION`.

Times are seconds since 1970 (UTC). Answers and corrections are never deleted, and nothing of an
answer changes but `undone_at`: what somebody said stays on record, also what they took back.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

VERSION = 1
"""Of the tables below, stamped into a database when it is made."""

schema = Table("label_schema", metadata, Column("version", Integer, primary_key=True))


def _run(index: bool = False) -> Column:
    """With an index where no other begins with it: of two, PostgreSQL may take the worse."""
    return Column("run_id", String(32), ForeignKey("runs.id"), nullable=False, index=index)


runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("family", String(200), nullable=False),
    Column("about", JSON, nullable=False),
    Column("status", JSON, nullable=False),
    Column("revision", Integer, nullable=False, default=0),
    Column("made_at", Float, nullable=False),
)

annotators = Table(
    "annotators",
    metadata,
    Column("id", Integer, primary_key=True),
    _run(),
    Column("name", String(64), nullable=False),
    Column("token_hash", String(64), unique=True),
    Column("made_at", Float, nullable=False),
    Column("revoked_at", Float),
    UniqueConstraint("run_id", "name"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False, index=True),
    Column("until", Float, nullable=False),
)

clips = Table(
    "clips",
    metadata,
    Column("id", Integer, primary_key=True),
    _run(),
    Column("digest", String(64), nullable=False),
    Column("source", String(20), nullable=False),
    Column("round", Integer, nullable=False),
    Column("arrays", LargeBinary, nullable=False),
    Column("scene", JSON),
    # How a simulator does it again, for its film; and that, as MP4: empty where none can be made.
    Column("replay", LargeBinary),
    Column("film", LargeBinary),
    Column("made_at", Float, nullable=False),
    UniqueConstraint("run_id", "digest", "source"),
)

questions = Table(
    "questions",
    metadata,
    Column("id", Integer, primary_key=True),
    _run(),
    Column("kind", String(20), nullable=False),
    Column("left_id", ForeignKey("clips.id"), nullable=False),
    Column("right_id", ForeignKey("clips.id")),
    Column("swapped", Boolean(name="swapped"), nullable=False),
    Column("predicted", Float),
    Column("gain", Float, nullable=False),
    Column("overlap", Integer, nullable=False),
    # Answers that are still wanted, so that what is open is found without counting.
    Column("wanted", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("withdrawn_at", Float),
    CheckConstraint("kind IN ('comparison', 'rating')", name="kind"),
    CheckConstraint("(kind = 'comparison') = (right_id IS NOT NULL)", name="clips"),
)

Index("ix_questions_open", questions.c.run_id, questions.c.wanted)

leases = Table(
    "leases",
    metadata,
    Column("question_id", ForeignKey("questions.id"), primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id"), primary_key=True),
    Column("until", Float, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("id", Integer, primary_key=True),
    _run(index=True),
    Column("question_id", ForeignKey("questions.id"), nullable=False, index=True),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("request", String(64), nullable=False),
    Column("preference", Float),
    Column("mark", Integer),
    Column("levels", Integer),
    Column("skipped", Boolean(name="skipped"), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("given_at", Float, nullable=False),
    Column("undone_at", Float),
    Column("undone_by", String(64)),
    UniqueConstraint("annotator_id", "request"),
    CheckConstraint("preference IS NULL OR preference IN (0, 0.5, 1)", name="preference"),
    CheckConstraint("mark IS NULL OR (mark >= 1 AND mark <= levels)", name="mark"),
)
# One answer that stands for each person and question; any number that were taken back.
Index(
    "ix_answers_standing",
    answers.c.question_id,
    answers.c.annotator_id,
    unique=True,
    sqlite_where=text("undone_at IS NULL"),
    postgresql_where=text("undone_at IS NULL"),
)

corrections = Table(
    "corrections",
    metadata,
    Column("id", Integer, primary_key=True),
    _run(index=True),
    Column("clip_id", ForeignKey("clips.id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("request", String(64), nullable=False),
    Column("given_at", Float, nullable=False),
    UniqueConstraint("annotator_id", "request"),
    CheckConstraint("step >= 0", name="step"),
)

# When the loop took answers in, so that a study can be run again without its people.
taken = Table(
    "taken",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("iteration", Integer, primary_key=True),
    Column("answers", JSON, nullable=False),
    Column("corrections", JSON, nullable=False),
)
