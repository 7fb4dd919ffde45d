"""Uploads: `POST /v1/objects` and `PUT /v1/objects/by-key/…`, with bytes, or without where they are here already."""

from collections.abc import Callable

from stor.objects.api.headers import check_length, draft
from stor.objects.api.places import check_own, name_in_path
from stor.objects.api.shapes import shown
from stor.objects.api.signed import Discreet, check_signed, discreetly, is_signed
from stor.objects.core import Objects
from stor.objects.digests import EMPTY
from stor.objects.receiving import Receiving
from stor.objects.records import Created, Draft, Name
from stor.streams.sink import Sink
from stor.web.answer import Answer, json_answer
from stor.web.call import Call
from stor.web.memory import NOTHING

LOCATION = b"/v1/objects/"


class Creating:
    """Makes objects whose names `name_of` finds in a call."""

    def __init__(self, objects: Objects, name_of: Callable[[Call], Name]) -> None:
        self._objects, self._name_of = objects, name_of

    def sink(self, call: Call) -> Sink:
        """Take a body only for what can be made: everything that the header shows to be wrong is refused here."""
        made, signed = self._draft(call), is_signed(call)
        if signed:
            check_signed(call)
        if _is_adoption(call, made):
            return NOTHING
        if made.expected.get("sha256") != EMPTY:
            check_length(call)
        receiving = self._objects.receive(made, call.announced)
        return Discreet(receiving) if signed else receiving

    async def create(self, call: Call, **_: str) -> Answer:
        """Make it."""
        body = call.body
        if isinstance(body, Receiving):
            return created(await self._objects.create(body))
        if isinstance(body, Discreet):
            with discreetly():
                return created(await self._objects.create(body.inner))
        made = self._draft(call)
        return created(await self._objects.adopt(made, made.expected["sha256"]))

    def _draft(self, call: Call) -> Draft:
        name = self._name_of(call)
        call.topic = name.namespace
        return draft(call, name)


def own_name_in_path(call: Call) -> Name:
    """Read the name in the path; Forbidden when it is another tenant's."""
    name = name_in_path(call)
    check_own(call, name)
    return name


def created(made: Created) -> Answer:
    """Say what was made, or was there already with the same bytes."""
    found = made.object
    headers = ((b"location", LOCATION + found.id.encode()), (b"etag", found.etag.encode()))
    return json_answer(shown(found), 201 if made.is_new else 200, headers)


def _is_adoption(call: Call, made: Draft) -> bool:
    """Tell whether a digest comes in place of a body; nothing is the body of which it is the digest."""
    return call.announced == 0 and b"x-content-hash" in call.headers and made.expected["sha256"] != EMPTY
