"""One program for each peer that learns from preferences, run by the peer's own interpreter."""
