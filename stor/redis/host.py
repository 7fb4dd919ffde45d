"""What a gate asks of the proxy that it is a gate of, and what both know of a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from stor.redis.login import Change
from stor.redis.session import Session
from stor.redis.upstream import Upstream
from stor.redis.users import User


@dataclass(frozen=True)
class Peer:
    """Where a client comes from: what its socket says, or a trusted proxy in its PROXY header."""

    host: str
    port: int


class Host(Protocol):
    """What a gate asks of the proxy it belongs to."""

    login_seconds: float
    connect_seconds: float
    output_bytes: int
    reactor: Any

    def judge(self, address: str, name: bytes, password: bytes) -> User | None:
        """Give the user, None when the password is wrong; raises TooMany when the address has guessed enough."""

    def open_user(self) -> User | None:
        """Give the user that everybody is, when no passwords are configured."""

    async def dial(self, user: User) -> Upstream:
        """Connect to the user's server; raises Unavailable."""

    async def begin(self, gate: Any, upstream: Upstream, user: User, change: Change) -> Session:
        """Make the session of a client that has logged in, once all that was said to it has been sent."""

    def counted(self, outcome: str) -> None:
        """Count a login by its outcome."""

    def left(self, gate: Any) -> None:
        """Forget a connection."""
