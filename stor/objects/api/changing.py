"""What becomes of objects later: `PATCH` and `DELETE`."""

from collections.abc import Mapping

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from stor.errors import BadRequest, Missing, Unavailable
from stor.objects.api.headers import match
from stor.objects.api.places import check_seen, name_in_path, seeker
from stor.objects.api.shapes import shown
from stor.objects.core import Objects
from stor.objects.records import Change, StorageClass
from stor.objects.rules import check_content_type, check_metadata
from stor.web.answer import Answer, json_answer
from stor.web.call import Call

BODY_BYTES = 64 * 1024
TRIES = 8  # for a key whose object is replaced while it is deleted
BUSY_SECONDS = 1.0


class Wanted(Struct, forbid_unknown_fields=True):
    """The body of `PATCH`: what is left out stays as it is; `metadata` replaces all of it."""

    content_type: str | None = None
    metadata: Mapping[str, str] | None = None
    storage_class: StorageClass | None = None


_decoder = Decoder(Wanted)


class Changing:
    """Four handlers' worth of change, each for one object."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def change(self, call: Call, object_id: str) -> Answer:
        """Say something else about an object, or move it to another class."""
        wanted, who = _read(call.content), seeker(call)
        found = await self._objects.find(object_id)
        who.check(found.object)
        call.topic = found.object.name.namespace
        made = await self._objects.change(object_id, wanted, match(call))
        return json_answer(shown(made), 200, [(b"etag", made.etag.encode())])

    async def delete(self, call: Call, object_id: str) -> Answer:
        """Delete an object: nobody sees it from here on."""
        who = seeker(call)
        found = await self._objects.find(object_id)
        who.check(found.object)
        call.topic = found.object.name.namespace
        await self._objects.delete(object_id, match(call))
        return Answer(204)

    async def delete_by_key(self, call: Call, **_: str) -> Answer:
        """Delete the object that owns a key; whoever replaces it meanwhile came before us, or comes after.

        Where an upload has the key, it is given up: else a slow one could keep the key from its tenant.
        """
        name, wanted = name_in_path(call), match(call)
        check_seen(call, name)
        for _try in range(TRIES):
            try:
                found = await self._objects.find_key(name)
            except Missing:
                if wanted is not None or not await self._objects.give_up_key(name):
                    raise
                return Answer(204)
            call.topic = name.namespace
            try:
                await self._objects.delete(found.object.id, wanted)
            except Missing:  # it went in between; perhaps another owns the key by now
                continue
            return Answer(204)
        raise Unavailable("the object changes too often to be deleted", BUSY_SECONDS)


def _read(body: bytes) -> Change:
    """Read what is to change; BadRequest says what is wrong with it."""
    try:
        wanted = _decoder.decode(body)
    except (DecodeError, UnicodeDecodeError) as why:
        raise BadRequest(f"the body is not what was expected: {why}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    if wanted == Wanted():
        raise BadRequest("nothing is to change: content_type, metadata or storage_class")
    if wanted.content_type is not None:
        check_content_type(wanted.content_type)
    if wanted.metadata is not None:
        check_metadata(wanted.metadata)
    return Change(wanted.content_type, wanted.metadata, wanted.storage_class)
