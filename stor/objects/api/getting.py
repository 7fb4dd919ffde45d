"""Objects for their readers: whole, by ranges, only when they changed; and whether some bytes are here."""

from contextlib import suppress

from stor.errors import Missing, Unavailable
from stor.objects.api.headers import described, refuse_to_run
from stor.objects.api.places import check_seen, name_in_path, one, seeker
from stor.objects.core import Objects
from stor.objects.ledger import TRIES
from stor.objects.records import Found
from stor.objects.rules import MICROSECONDS, digest_of
from stor.web.answer import Answer, json_answer
from stor.web.call import Call
from stor.web.conditions import is_unchanged, range_applies
from stor.web.ranges import content_range, span

_UNUSUAL = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"range", b"sec-fetch-dest"}
)


class Getting:
    """`GET` and `HEAD`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def by_id(self, call: Call, object_id: str) -> Answer:
        """Answer with the object of this id."""
        who = seeker(call)
        found = await self._objects.find(object_id)
        who.check(found.object)
        return await self._answer(call, found)

    async def by_key(self, call: Call, **_: str) -> Answer:
        """Answer with the object that owns the key."""
        name = name_in_path(call)
        check_seen(call, name)
        for _try in range(TRIES):
            found = await self._objects.find_key(name)
            with suppress(Missing):  # it has just been deleted, or replaced: then another one is found
                return await self._answer(call, found)
        raise Unavailable("the key gets other bytes too often to be read", retry_after=0.1)

    async def _answer(self, call: Call, found: Found) -> Answer:
        shown = found.object
        call.topic = shown.name.namespace
        if call.method == "HEAD" or not _UNUSUAL.isdisjoint(call.headers):
            return await self._looked_at(call, found)
        return Answer(200, described(shown), await self._objects.open(found))

    async def _looked_at(self, call: Call, found: Found) -> Answer:
        """Look at the conditions first: who has it, or wants only its headers, opens no file."""
        refuse_to_run(call)
        shown, size = found.object, found.object.size
        etag, modified = shown.etag, shown.updated_at // MICROSECONDS
        if is_unchanged(call.header, etag, modified):
            return Answer(304, described(shown))
        if call.method == "HEAD":
            return Answer(200, described(shown), length=size)
        now = self._objects.now() // MICROSECONDS
        part = span(call.header("range"), size) if range_applies(call.header, etag, modified, now) else None
        if part is None:
            return Answer(200, described(shown), await self._objects.open(found))
        told = (b"content-range", content_range(*part, size))
        return Answer(206, [*described(shown), told], await self._objects.open(found, *part))

    async def held(self, call: Call, digest: str) -> Answer:
        """Tell whether an object of the caller's own tenant has these bytes."""
        wanted, tenant = digest_of(digest), one(call)
        size = await self._objects.holds(tenant, wanted)
        told = f"sha256:{wanted}"
        return json_answer({"content_hash": told, "size_bytes": size}, 200, [(b"x-content-hash", told.encode())])
