"""A redis-server of our own, for a machine that has none to go to: its command line and its configuration.

Pure. The configuration goes in by standard input, so that its password stands in no argv and no file.
"""

from __future__ import annotations

from pathlib import Path

USER = "stor"
ARGV = ["redis-server", "-"]


def configuration(port: int, folder: Path, password: str) -> bytes:
    """Give a configuration: loopback, append-only file in `folder`, one user; nobody can log in as `default`.

    All the same `default` must be allowed everything: in its name Redis reads the append-only file, and leaves
    out, without a word, what it may not do in a transaction.
    """
    return f"""\
bind 127.0.0.1
port {port}
dir "{folder}"
appendonly yes
save ""
user default off ~* &* +@all
user {USER} on >{password} ~* &* +@all
""".encode()


def is_ready(line: bytes) -> bool:
    """Tell whether this line of its log says that it listens."""
    return b"Ready to accept connections" in line
