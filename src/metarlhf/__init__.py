"""Teach an agent a new task in one minute of your time."""

__version__ = "0.1.0"
