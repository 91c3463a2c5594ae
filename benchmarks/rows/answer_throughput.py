"""Answers a second that the page takes from 50 people at once, for a minute.

As `answer_latency`, but nobody pauses: each answers as soon as the last answer is acknowledged. Of
all that was acknowledged, everything is there afterwards, once, or there is no figure.
"""

import numpy as np

from benchmarks.harness import Result
from benchmarks.people.load import answer_all_at_once, asked, check, page
from benchmarks.rows.answer_latency import DATABASES

ROW = "answer-throughput"
PEOPLE, SECONDS = 50, 60.0


def measure(options):
    """A figure for each database."""
    seconds = 5.0 if options.quick else SECONDS
    for name, new in DATABASES.items():
        with new() as url, page(url) as (address, run, database):
            with asked(url, run):
                heard = answer_all_at_once(address, run, database, PEOPLE, seconds, 0.0)
            check(database, run, heard)
        yield Result(
            ROW,
            name,
            len(heard.acknowledged) / seconds,
            unit="/s",
            must=300,
            details={
                "people": PEOPLE,
                "answers": len(heard.acknowledged),
                "95th_percentile_ms": 1e3 * float(np.quantile(heard.seconds, 0.95)),
                "refused": len(heard.refused),
                "lost": 0,
                "counted_twice": 0,
            },
        )
