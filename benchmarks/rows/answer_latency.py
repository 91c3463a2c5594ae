"""Time from an answer to its being on disk and acknowledged, 95th percentile, of 20 people at once.

The real server in a process of its own, on SQLite (WAL, every commit synced) and on PostgreSQL
(Debian's, as it comes). Each person pauses a quarter of a second on average, so that about 70
answers come in a second; meanwhile somebody asks. Their clients run on the same two cores, so what
they take counts, too. Every answer must be kept, once.
"""

import tempfile
from contextlib import contextmanager

import numpy as np

from benchmarks.harness import Result
from benchmarks.people import postgresql
from benchmarks.people.load import answer_all_at_once, asked, check, page

ROW = "answer-latency"
PEOPLE, SECONDS, PAUSE = 20, 30.0, 0.25


@contextmanager
def sqlite():
    """The URL of a new database."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/labels.db"


DATABASES = {"SQLite": sqlite, "PostgreSQL": postgresql.server}


def measure(options):
    """A figure for each database."""
    seconds = 3.0 if options.quick else SECONDS
    for name, new in DATABASES.items():
        with new() as url, page(url) as (address, run, database):
            with asked(url, run):
                heard = answer_all_at_once(address, run, database, PEOPLE, seconds, PAUSE)
            check(database, run, heard)
        times = 1e3 * np.array(heard.seconds)
        yield Result(
            ROW,
            name,
            float(np.quantile(times, 0.95)),
            unit="ms",
            must=50,
            better="lower",
            details={
                "people": PEOPLE,
                "answers": len(times),
                "answers_per_second": len(times) / seconds,
                "median_ms": float(np.median(times)),
                "99th_percentile_ms": float(np.quantile(times, 0.99)),
                "slowest_ms": float(times.max()),
                "refused": len(heard.refused),
            },
        )
