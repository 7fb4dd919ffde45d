"""Everything that stor raises on purpose, in one tree.

    StorError
    ├── ConfigError     the operator must change a setting; needs no traceback
    ├── BadRequest      the caller's request makes no sense
    │   ├── LengthRequired       it does not say how long its body is
    │   └── UnsupportedType      its body is of a type that means nothing here
    ├── Denied          no credential, or a wrong one
    ├── Forbidden       a good credential that may not do this
    ├── Missing         no such thing
    ├── Conflict        the thing is not in the state the request supposes
    │   └── PreconditionFailed   the caller said which state it supposes, and it is another
    ├── Unprocessable   well-formed, but something in it is missing or contradicts the rest
    ├── NotSatisfiable  a range that lies outside the thing
    ├── TooLarge        more bytes than this caller may send
    ├── Full            no room left to keep it
    ├── TooMany         too often, or too many at once; later it may work
    ├── Unavailable     something we need is away; later it may work
    └── Failed          something we ran ended badly
        └── Damaged     what is kept is not what was put there

Messages are for the caller: they hold no secret. What each means at an edge (an HTTP status, a RESP
error, an exit code) is said by that edge, in a table of its own.
"""

from collections.abc import Mapping


class StorError(Exception):
    """Everything we raise on purpose.

    `code` is a name for programs and `context` what they may want to know; both are shown to the caller.
    """

    def __init__(self, message: str = "", *, code: str | None = None, context: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.context = code, context


class ConfigError(StorError):
    """A setting is wrong: its place, what is wrong with it, and what was perhaps meant."""


class BadRequest(StorError):
    """The caller's request makes no sense."""


class LengthRequired(BadRequest):
    """A body was expected, and nothing says how long it is."""


class UnsupportedType(BadRequest):
    """A body of a type that means nothing here."""


class Denied(StorError):
    """No credential, or a wrong one."""


class Forbidden(StorError):
    """A good credential that may not do this."""


class Missing(StorError):
    """No such thing."""


class Conflict(StorError):
    """The thing is not in the state the request supposes."""


class PreconditionFailed(Conflict):
    """The caller said which state it supposes, and it is another."""


class Unprocessable(StorError):
    """Well-formed, but something in it is missing or contradicts the rest."""


class NotSatisfiable(StorError):
    """A range that lies outside the thing; `size` is the thing's size in bytes."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class TooLarge(StorError):
    """More bytes than this caller may send."""


class Full(StorError):
    """No room left to keep it: a full disk, or a quota that is used up."""


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


class Damaged(Failed):
    """What is kept is not what was put there, and certainly so: it is cut off, or has another hash."""
