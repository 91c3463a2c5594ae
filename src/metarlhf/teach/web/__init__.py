"""The page on which people teach: a small server, and what it serves."""

# Names of this machine, by which nobody else reaches it.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
