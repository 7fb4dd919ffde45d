"""What a session promises, whatever carries its bytes: `spliced` plain sockets or `stream`ed transports."""

from __future__ import annotations

from typing import Any, Protocol

LINGER = 30.0
"""Seconds that the other direction of a half-ended session, or a reader who does not read, is waited for."""


class Session(Protocol):
    """A client logged in to an upstream, whatever carries its bytes."""

    def begin(self, rest: bytes) -> None:
        """Pass on what the client had sent behind its login, and go."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from the client, and from upstream."""

    @property
    def idle(self) -> bool:
        """Whether, as far as can be told without reading replies, no command is under way."""

    def upstream_said(self, data: bytes) -> None:
        """Take bytes that came through Twisted from upstream."""

    def client_said(self, data: bytes) -> None:
        """Take bytes that came through Twisted from the client."""

    def lost(self, protocol: Any) -> None:
        """Take note that one of the two connections has gone."""

    def finish(self) -> None:
        """Pass on that the client will say no more; what upstream still answers comes, and then the end."""

    def close(self) -> None:
        """End both connections once what was passed on has been sent."""

    def abort(self) -> None:
        """End both connections now."""
