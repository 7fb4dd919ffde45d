"""Everything that stor raises on purpose, in one tree.

    StorError
    ├── ConfigError     the operator must change a setting; needs no traceback
    ├── BadRequest      the caller's request makes no sense
    ├── Denied          no credential, or a wrong one
    ├── Forbidden       a good credential that may not do this
    ├── Missing         no such thing
    ├── Conflict        the thing is not in the state the request supposes
    ├── TooLarge        more bytes than this caller may send
    ├── TooMany         too often, or too many at once; later it may work
    ├── Unavailable     something we need is away; later it may work
    └── Failed          something we ran ended badly

Messages are for the caller: they hold no secret. What each means at an edge (an HTTP status, a RESP
error, an exit code) is said by that edge, in a table of its own.
"""


class StorError(Exception):
    """Everything we raise on purpose."""


class ConfigError(StorError):
    """A setting is wrong: its place, what is wrong with it, and what was perhaps meant."""


class BadRequest(StorError):
    """The caller's request makes no sense."""


class Denied(StorError):
    """No credential, or a wrong one."""


class Forbidden(StorError):
    """A good credential that may not do this."""


class Missing(StorError):
    """No such thing."""


class Conflict(StorError):
    """The thing is not in the state the request supposes."""


class TooLarge(StorError):
    """More bytes than this caller may send."""


class TooMany(StorError):
    """Too often, or too many at once; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(StorError):
    """Something we need is away; `retry_after` is in seconds where it can be known."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Failed(StorError):
    """Something we ran ended badly; the message holds its last words, already free of secrets."""
