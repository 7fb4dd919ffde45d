"""`POST /bootstrap`: format the volume over HTTP."""

from collections.abc import Iterable
from typing import Any

from msgspec import DecodeError, Struct, json

from stor.errors import BadRequest, StorError
from stor.volume.bootstrap import Bootstrap
from stor.web.answer import Answer, json_answer
from stor.web.answers import hints, status_of
from stor.web.call import Call
from stor.web.routes import About, Media, Route

BODY_BYTES = 1 << 16


class Wish(Struct, forbid_unknown_fields=True):
    """The body of the request, which may also be empty."""

    name: str | None = None


ABOUT = About(
    "Format the volume, once",
    body=Media("The volume's name; may be empty", schema=Wish),
    answers={
        200: "Formatted now, or already: `success`, `output`, `already_formatted`",
        400: "Settings are missing, or the body makes no sense: `success`, `error`",
        409: "Another volume is there",
        500: "juicefs failed",
        503: "Redis cannot be reached",
    },
)


class BootstrapApi:
    """One route, for those who may format the volume, which may destroy it; for everybody where it is `open`."""

    def __init__(self, bootstrap: Bootstrap, *, is_open: bool = False) -> None:
        self._bootstrap, self._permission = bootstrap, None if is_open else "volume:format"

    def routes(self) -> Iterable[Route]:
        """Offer it."""
        handler, permission = self.bootstrap, self._permission
        return [Route("POST", "/bootstrap", handler, permission, sink=BODY_BYTES, about=ABOUT)]

    async def bootstrap(self, call: Call) -> Answer:
        """Answer in this route's own shape, which its callers know: `success`, then `output` or `error`."""
        try:
            done = await self._bootstrap.format(_name(call.content))
        except StorError as error:
            return json_answer({"success": False, "error": str(error)}, status_of(error), hints(error))
        answer: dict[str, Any] = {"success": True, "output": done.output}
        if done.already_formatted:
            answer["already_formatted"] = True
        return json_answer(answer)


def _name(body: bytes) -> str | None:
    try:
        return json.decode(body, type=Wish).name if body.strip() else None
    except DecodeError as why:
        raise BadRequest(f"the body is not what was expected: {why}") from None
