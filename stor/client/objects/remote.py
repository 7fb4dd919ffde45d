"""The object store at a URL: one call for each thing that can be done there."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from stor.client.bodies import Incoming, Outgoing
from stor.client.dialects import root_of
from stor.client.objects.held import Made, Page, Seen, Shown, decoded, seen
from stor.client.objects.leaving import Source
from stor.client.objects.names import OBJECTS, Name, Ref
from stor.client.objects.wish import Wish
from stor.client.patience import Patience
from stor.client.wire import Answer, Reactor, Wire
from stor.errors import Failed, Missing, PreconditionFailed, StorError, TooMany, Unavailable

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
PAGE = 1000  # objects that are asked for at once
ANSWER_BYTES = 1 << 26
_NOT_HELD = "CONTENT_NOT_FOUND"
_LOST = "; perhaps because of an earlier try of ours, whose answer was lost"


@dataclass(frozen=True, slots=True)
class Reading:
    """An object's bytes on their way, from `start`; the body must be read to its end, or closed."""

    seen: Seen
    start: int
    body: Incoming


class RemoteObjects:
    """Objects at one URL, by one credential, which is in no error, no log and no repr.

    All calls try again what may pass, for `patience` seconds after the first failure; `told` hears of each.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        reactor: Reactor,
        *,
        patience: float = PATIENCE_SECONDS,
        told: Callable[[StorError], object] = lambda _: None,
    ) -> None:
        self.url, self.reactor = root_of(url), reactor
        self._wire = Wire(self.url, key, reactor)
        self._patience, self._told = Patience(patience, reactor), told

    def __repr__(self) -> str:
        return f"<RemoteObjects {self.url}>"

    async def close(self) -> None:
        """Let the connections go."""
        await self._wire.close()

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Give what a try gave, as often as it takes; raises what the last one raised."""

        async def told() -> T:
            try:
                return await attempt()
            except (TooMany, Unavailable) as why:
                self._told(why)
                raise

        return await self._patience.spend(told)

    async def head(self, ref: Ref) -> Seen:
        """Look at an object; Missing."""

        async def attempt() -> Seen:
            answer = await self._wire.ask("HEAD", ref.target, _US)
            await answer.body.whole(0)
            length = answer.header("content-length") or ""
            return seen(answer, int(length) if length.isdecimal() else None)

        with _missing():
            return await self.patiently(attempt)

    async def read(self, ref: Ref, start: int, etag: str | None) -> Reading:
        """Ask once for its bytes from `start`; they come from 0 when they are no more those of `etag`; Missing."""
        headers = {"range": f"bytes={start}-", "if-range": etag or ""} if start else {}
        with _missing():
            answer = await self._wire.ask("GET", ref.target, _US | headers)
        try:
            if answer.status != 206:
                return Reading(seen(answer, answer.body.length), 0, answer.body)
            return Reading(seen(answer, _size(answer.header("content-range"), start)), start, answer.body)
        except BaseException:
            answer.body.close()
            raise

    async def put(self, wish: Wish, source: Callable[[], Awaitable[Source]]) -> Made:
        """Write an object; `source` is called for each try, and what it raises ends the matter.

        Conflict when the key has other bytes, PreconditionFailed when it is not as wished, Failed when the server
        has taken other bytes than were sent.
        """
        headers = _US | wish.headers()

        async def attempt() -> Made:
            body = await source()
            try:
                answer = await self._wire.ask("POST", _creating(wish.name), headers, Outgoing(body.length, body.read))
                made = await _made(answer)
                if made.object.digest != body.digest:
                    raise Failed(f"{wish.name}: sent as sha256:{body.digest}, stored as {made.object.content_hash}")
                return made
            except (TooMany, Unavailable) as why:
                await body.close()  # from now on nothing more is read
                if body.is_lost:
                    raise Failed(f"{why}; what was read cannot be read again") from None
                raise
            finally:
                await body.close()

        return await self._once(attempt)

    async def adopt(self, wish: Wish) -> Made | None:
        """Write an object of bytes (`wish.digest`) that its tenant has already; None when it has not."""

        async def attempt() -> Made:
            return await _made(await self._wire.ask("POST", _creating(wish.name), _US | wish.headers()))

        try:
            return await self._once(attempt)
        except Missing as why:
            if why.code != _NOT_HELD:
                raise
            return None

    async def _once(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Write patiently; a condition that fails in a second try may have come true in the first."""
        tries = 0

        async def counted() -> T:
            nonlocal tries
            tries += 1
            return await attempt()

        try:
            return await self.patiently(counted)
        except PreconditionFailed as why:
            if tries == 1:
                raise
            raise PreconditionFailed(f"{why}{_LOST}", code=why.code, context=why.context) from None

    async def holds(self, tenant: str, digest: str) -> bool:
        """Tell whether the tenant has these bytes (SHA-256 in hex) in some object."""

        async def attempt() -> bool:
            with suppress(Missing):
                target = f"/v1/blobs/sha256:{digest}?tenant_id={quote(tenant, safe='')}"
                answer = await self._wire.ask("HEAD", target, _US)
                await answer.body.whole(0)
                return True
            return False

        return await self.patiently(attempt)

    async def delete(self, ref: Ref, match: str | None = None) -> None:
        """Delete an object, if it has this ETag when one is given; Missing, PreconditionFailed."""
        headers = _US | ({"if-match": match} if match is not None else {})
        tries = 0

        async def attempt() -> None:
            nonlocal tries
            tries += 1
            try:
                answer = await self._wire.ask("DELETE", ref.target, headers)
                await answer.body.whole(ANSWER_BYTES)
            except Missing:
                if tries == 1:  # else an earlier try has done it
                    raise

        with _missing():
            await self.patiently(attempt)

    async def pages(self, where: Name, delimiter: str = "", size: int = PAGE) -> AsyncIterator[Page]:
        """Give what is there by key, `size` at a time; with a delimiter, what lies deeper only as prefixes."""
        query = "&".join(filter(None, (_listing(where), delimiter and f"delimiter={quote(delimiter, safe='')}")))
        cursor: str | None = ""
        while cursor is not None:
            more = f"&cursor={quote(cursor, safe='')}" if cursor else ""
            page = await self._page(f"{OBJECTS}?limit={size}&order=key&{query}{more}")
            cursor = page.next_cursor
            yield page

    async def _page(self, target: str) -> Page:
        async def attempt() -> Page:
            answer = await self._wire.ask("GET", target, _US)
            return decoded(await answer.body.whole(ANSWER_BYTES), Page)

        return await self.patiently(attempt)


_US = {"user-agent": "stor-objects"}


def _creating(name: Name) -> str:
    return f"{OBJECTS}?{name.query}"


def _listing(where: Name) -> str:
    """A prefix is no key: it has a field of its own."""
    above = Name(where.namespace, where.tenant).query
    return "&".join(filter(None, (above, where.key and f"prefix={quote(where.key, safe='')}")))


async def _made(answer: Answer) -> Made:
    return Made(decoded(await answer.body.whole(ANSWER_BYTES), Shown), answer.status == 201)


def _size(header: str | None, start: int) -> int:
    """Read of how many bytes in all an answer is a part; Failed when it does not begin at `start`."""
    found = re.fullmatch(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", header or "")
    if found is None or int(found[1]) != start:
        raise Failed("another range was given than was asked for")
    return int(found[2])


@contextmanager
def _missing() -> Iterator[None]:
    """Say what the answer to a HEAD cannot."""
    try:
        yield
    except Missing as why:
        raise Missing("no such object", code=why.code or "OBJECT_NOT_FOUND") from None
