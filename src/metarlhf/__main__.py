"""`python -m metarlhf` is `metarlhf`."""

from metarlhf.cli import run

run()
