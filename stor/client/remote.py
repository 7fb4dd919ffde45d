"""A tree at a URL: its index, its files, and conditional changes of them."""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar
from urllib.parse import quote

from stor.client.bodies import Incoming, Outgoing
from stor.client.dialects import Dialect, Namespaced, Plain, md5_of, read_index, root_of
from stor.client.patience import Patience
from stor.client.plan import Base, Entry
from stor.client.wire import Answer, Reactor, Wire
from stor.errors import BadRequest, Failed, Missing

T = TypeVar("T")

INDEX_BYTES = 1 << 28
PATIENCE_SECONDS = 60.0


class Source(Protocol):
    """A body that can be sent once."""

    length: int

    async def read(self) -> bytes:
        """Give the next piece, b"" at the end."""

    async def close(self) -> None:
        """Let go of what is behind it."""


class Remote:
    """One tree, by one credential; `namespace` chooses the namespaced dialect.

    All calls try again what may pass, for `patience` seconds after the first failure. Changes are conditional, so a
    try whose answer was lost does no harm: the next one is done for the first time, or PreconditionFailed.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        reactor: Reactor,
        *,
        namespace: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        root = root_of(url)
        self._dialect: Dialect = Plain() if namespace is None else Namespaced(namespace)
        self.name = f"{root} {self._dialect.name}".rstrip()  # a sync remembers the tree by it
        self._wire = Wire(root, token, reactor)
        self._patience = Patience(patience, reactor)
        self._entries: Mapping[str, Entry] = {}
        self._etag = self._cursor = ""

    def __repr__(self) -> str:
        return f"<Remote {self.name}>"

    async def close(self) -> None:
        """Let the connections go."""
        await self._wire.close()

    async def index(self) -> Mapping[str, Entry]:
        """Give all files and tombstones; only what changed since the last call is fetched where the server can tell."""
        if self._cursor:
            try:
                return await self._patience.spend(self._changes)
            except BadRequest:
                self._cursor = ""  # of another life of the server
        return await self._patience.spend(self._whole)

    async def _whole(self) -> Mapping[str, Entry]:
        answer = await self._wire.ask("GET", self._dialect.index, {"if-none-match": self._etag} if self._etag else {})
        body = await answer.body.whole(INDEX_BYTES)
        if answer.status != 304:
            self._entries = read_index(body).entries()
            self._etag, self._cursor = answer.header("etag") or "", answer.header("x-cursor") or ""
        return self._entries

    async def _changes(self) -> Mapping[str, Entry]:
        answer = await self._wire.ask("GET", f"{self._dialect.index}?since={quote(self._cursor, safe='')}")
        index = read_index(await answer.body.whole(INDEX_BYTES))
        self._entries = index.entries() if index.reset else {**self._entries, **index.entries()}
        self._cursor, self._etag = index.cursor or "", ""
        return self._entries

    async def get(self, path: str, receive: Callable[[Incoming], Awaitable[str]]) -> Base:
        """Have `receive`, called anew for each try, read the bytes and give their md5; Missing when there are none."""

        async def attempt() -> Base:
            answer = await self._wire.ask("GET", self._dialect.blob(path))
            try:
                found = await receive(answer.body)
            finally:
                answer.body.close()
            if found != (said := md5_of(answer.header("etag"))):
                raise Failed(f"{path}: the bytes have the md5 {found}, and the remote says {said}")
            return Base(found, _version(answer))

        return await self._patience.spend(attempt)

    async def is_live(self, path: str) -> bool:
        """Ask the file itself whether it is there, and no tombstone."""

        async def attempt() -> bool:
            with suppress(Missing):
                answer = await self._wire.ask("HEAD", self._dialect.blob(path))
                await answer.body.whole(0)
                return True
            return False

        return await self._patience.spend(attempt)

    async def put(
        self, path: str, md5: str, seen: Entry | None, source: Callable[[], Awaitable[Source]], content_type: str
    ) -> Base:
        """Write a file if the remote still has what was `seen`; PreconditionFailed when it has not.

        `source` is called for each try. What it raises ends the matter.
        """
        headers = {**self._dialect.putting(md5, seen), "content-type": content_type}

        async def attempt() -> Base:
            body = await source()
            try:
                outgoing = Outgoing(body.length, body.read)
                answer = await self._wire.ask("PUT", self._dialect.blob(path), headers, outgoing)
            finally:
                await body.close()
            await answer.body.whole(INDEX_BYTES)
            if (said := md5_of(answer.header("etag"))) != md5:
                raise Failed(f"{path}: sent with the md5 {md5}, and the remote says {said}")
            return Base(md5, _version(answer))

        return await self._patience.spend(attempt)

    async def delete(self, path: str, seen: Entry) -> None:
        """Leave a tombstone if the remote still has what was `seen`; PreconditionFailed, Missing."""

        async def attempt() -> None:
            answer = await self._wire.ask("DELETE", self._dialect.blob(path), self._dialect.deleting(seen))
            await answer.body.whole(INDEX_BYTES)

        await self._patience.spend(attempt)

    async def listen(self, heard: Callable[[], object]) -> None:
        """Call `heard` at once, and whenever the tree changes, until the server ends it; Missing where it cannot."""
        answer = await self._wire.ask("GET", self._dialect.events, {"accept": "text/event-stream"})
        try:
            heard()
            while piece := await answer.body.read():
                if re.search(rb"^(?!:)[^\r\n]", piece, re.MULTILINE):  # a comment only says that the line lives
                    heard()
        finally:
            answer.body.close()


def _version(answer: Answer) -> int | None:
    said = answer.header("x-version") or ""
    return int(said) if said.isascii() and said.isdigit() else None
