"""The page on which people teach: a small server, and what it serves. Nothing below knows of it."""
