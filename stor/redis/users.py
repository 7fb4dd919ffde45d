"""Who the proxy knows: each user's password (as a digest) and where, and as whom, it is signed in upstream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stor.access.passwords import digest, same
from stor.redis.login import Credential
from stor.redis.upstream import Server

_NOBODY = digest(b"")  # compared against for unknown names, so that they cost the same time


@dataclass(frozen=True)
class User:
    """A name that clients log in with, and what it opens."""

    name: str
    digest: bytes
    server: Server
    credential: Credential


class Users:
    """The users by name; with none at all the proxy is open, which only a loopback listener may be."""

    def __init__(self, users: Iterable[User], *, open_as: User | None = None) -> None:
        """`open_as`: the user that every client is, unasked, when there are no others."""
        self._users = {user.name.encode(): user for user in users}
        self.open_as = None if self._users else open_as

    def check(self, name: bytes, password: bytes) -> User | None:
        """Give the user of this name and password; an empty name is `default`'s. Equal work for every answer."""
        user = self._users.get(name or b"default")
        right = same(password, user.digest if user else _NOBODY)
        return user if right else None
