"""`POST /bootstrap`: format the volume over HTTP."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from msgspec import DecodeError, Struct, json

from stor.access.guard import Guard
from stor.errors import BadRequest, StorError
from stor.volume.bootstrap import Bootstrap
from stor.web.answers import hints, reply, status_of
from stor.web.request import Request
from stor.web.routes import Route


class Wish(Struct, forbid_unknown_fields=True):
    """The body of the request, which may also be empty."""

    name: str | None = None


class BootstrapApi:
    """One route, for those who may write the volume: who may format may destroy."""

    def __init__(self, bootstrap: Bootstrap, guard: Guard) -> None:
        self._bootstrap, self._guard = bootstrap, guard

    def routes(self) -> Iterable[Route]:
        """Offer it behind the guard."""
        return [Route("POST", "/bootstrap", self._guard.requires("volume:write")(self.bootstrap))]

    async def bootstrap(self, request: Request) -> bytes:
        """Answer in this route's own shape, which its callers know: `success`, then `output` or `error`."""
        try:
            done = await self._bootstrap.format(_name(request.content.read()))
        except StorError as error:
            hints(request, error)
            return reply(request, status_of(error), {"success": False, "error": str(error)})
        answer: dict[str, Any] = {"success": True, "output": done.output}
        if done.already_formatted:
            answer["already_formatted"] = True
        return reply(request, HTTPStatus.OK, answer)


def _name(body: bytes) -> str | None:
    try:
        return json.decode(body, type=Wish).name if body.strip() else None
    except DecodeError as why:
        raise BadRequest(f"the body is not what was expected: {why}") from None
