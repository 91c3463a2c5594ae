"""Measuring on held-out tasks: references, other starts, learning from scratch."""
