"""`/v1/api-keys`: make, show and revoke API keys."""

from collections.abc import Iterable

from msgspec import UNSET

from stor.access.keys import ApiKeys
from stor.access.principal import Principal
from stor.errors import Denied
from stor.keyring.shown import Page, Shown, Wish, page, read_page, read_wish, shape, show
from stor.web.answer import Answer, json_answer
from stor.web.call import Call
from stor.web.routes import About, Media, Parameter, Route

BODY_BYTES = 16_384
RULE = "/v1/api-keys"


class KeysApi:
    """Four routes for those who may manage keys; the keys themselves keep the rule what may be given."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    def routes(self) -> Iterable[Route]:
        """Offer them."""
        for method, rule, handler, about in (
            ("POST", RULE, self.create, _CREATE),
            ("GET", RULE, self.list, _LIST),
            ("GET", RULE + "/<key_id>", self.get, _GET),
            ("DELETE", RULE + "/<key_id>", self.revoke, _REVOKE),
        ):
            yield Route(method, rule, handler, "keys:manage", sink=BODY_BYTES, errors=shape, about=about)

    async def create(self, call: Call) -> Answer:
        """Make one: the only answer that ever shows its text."""
        wish, creator = read_wish(call.content), _who(call)
        tenant = creator.tenant if wish.tenant_id is UNSET else wish.tenant_id
        key, text = await self._keys.create(creator, wish.name, frozenset(wish.permissions), tenant, wish.expires_in)
        return json_answer(show(key, text), 201, [(b"location", f"{RULE}/{key.id}".encode())])

    async def list(self, call: Call) -> Answer:
        """Show a page of those that the caller can see, oldest first."""
        wanted = read_page(call.query)
        found = await self._keys.page(_who(call), wanted.after, wanted.limit + 1)
        return json_answer(page(found, wanted.limit))

    async def get(self, call: Call, key_id: str) -> Answer:
        """Show one."""
        return json_answer(show(await self._keys.get(_who(call), key_id)))

    async def revoke(self, call: Call, key_id: str) -> Answer:
        """Revoke one; again, it stays revoked."""
        await self._keys.revoke(_who(call), key_id)
        return Answer(204)


def _who(call: Call) -> Principal:
    if call.principal is None:  # no route of ours is open; should one ever be, it gives nothing away
        raise Denied("this needs a credential")
    return call.principal


_FORBIDDEN = "More than the caller holds, or another tenant"
_CREATE = About(
    "Make an API key; its text is shown this once",
    body=Media("What it may do, in which tenant (left out: the creator's), and for how long", schema=Wish),
    answers={201: Media("The key with its text", schema=Shown), 400: "A body that makes no sense", 403: _FORBIDDEN},
)
_LIST = About(
    "List API keys, oldest first",
    parameters=(
        Parameter("limit", "query", "1 to 1000, by default 50"),
        Parameter("cursor", "query", "The `cursor` of the page before"),
    ),
    answers={200: Media("A page of keys", schema=Page), 400: "A limit or cursor that makes no sense"},
)
_GET = About(
    "Show an API key", answers={200: Media("The key", schema=Shown), 404: "No such key in the caller's tenant"}
)
_REVOKE = About(
    "Revoke an API key: it lets nobody in any more, in any process after at most 5 seconds",
    answers={204: "Revoked, now or before", 403: _FORBIDDEN, 404: "No such key in the caller's tenant"},
)
