"""`POST /v1/objects/{id}/presign`: a URL that lets whoever has it read one object, or replace it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qs, quote

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from stor.access.presign import Presigner
from stor.access.principal import Principal
from stor.errors import BadRequest, Conflict, Forbidden
from stor.objects.api.places import BY_KEY, seeker
from stor.objects.api.shapes import moment
from stor.objects.api.signed import MATCH
from stor.objects.core import Objects
from stor.objects.records import Name, Object
from stor.objects.rules import MICROSECONDS
from stor.web.answer import Answer, json_answer
from stor.web.call import Call

BODY_BYTES = 4096
EXPIRES = 3600.0  # seconds, where nothing is said
_PERMISSIONS = {"GET": "objects:read", "HEAD": "objects:read", "PUT": "objects:write"}


class Asked(Struct, forbid_unknown_fields=True):
    """The body: for which method, and for how many seconds."""

    method: Literal["GET", "HEAD", "PUT"] = "GET"
    expires_in: float = EXPIRES


class Signed(Struct):
    """The answer: a path with its query, and the headers that the request must have beside."""

    url: str
    method: str
    expires_at: str
    headers: Mapping[str, str]


_decoder = Decoder(Asked)


class Presigning:
    """One handler."""

    def __init__(self, objects: Objects, presigner: Presigner) -> None:
        self._objects, self._presigner = objects, presigner

    async def sign(self, call: Call, object_id: str) -> Answer:
        """Give a URL for an object that the caller may do this with."""
        asked, giver = _read(call.content), call.principal
        permission = _PERMISSIONS[asked.method]
        if giver is None or not giver.may(permission):
            raise Forbidden(f"this needs the permission {permission}")
        who = seeker(call)
        found = (await self._objects.find(object_id)).object
        who.check(found)
        call.topic = found.name.namespace
        # For the object's own tenant alone, so that no other way to read the path leads out of it.
        return json_answer(self._signed(replace(giver, tenant=found.name.tenant), asked, found))

    def _signed(self, giver: Principal, asked: Asked, found: Object) -> Signed:
        if asked.method == "PUT":
            if not found.name.key:
                raise Conflict("an object without a key cannot be replaced", code="NO_KEY")
            return self._url(giver, asked, _by_key(found.name), found.etag)
        return self._url(giver, asked, (f"/v1/objects/{found.id}",) * 2)

    def _url(self, giver: Principal, asked: Asked, path: tuple[str, str], match: str | None = None) -> Signed:
        """The condition is signed too: a URL whose bearer could choose it would be one for ever, and an oracle."""
        decoded, raw = path
        permission = _PERMISSIONS[asked.method]
        said, headers = ({}, {}) if match is None else ({MATCH: match}, {"If-Match": match})
        signed = self._presigner.sign(giver, permission, asked.method, decoded, asked.expires_in, said)
        query = signed.partition("?")[2]
        expires = int(parse_qs(query)["stor-expires"][0])
        return Signed(f"{raw}?{query}", asked.method, moment(expires * MICROSECONDS), headers)


def _by_key(name: Name) -> tuple[str, str]:
    """Give the path of a key, decoded and as it is written: a slash in a tenant is no end of it."""
    begin = BY_KEY.decode()
    decoded = f"{begin}{name.namespace}/{name.tenant}/{name.key}"
    return decoded, f"{begin}{quote(name.namespace)}/{quote(name.tenant, safe='')}/{quote(name.key)}"


def _read(body: bytes) -> Asked:
    try:
        return _decoder.decode(body or b"{}")
    except (DecodeError, UnicodeDecodeError) as why:
        raise BadRequest(f"the body is not what was expected: {why}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
