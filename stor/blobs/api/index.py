"""The index over HTTP: whole, compressed, by pages, by deltas, and behind a namespaced write."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from msgspec import Struct, json

from stor.blobs.api.preconditions import Invalid
from stor.blobs.api.targets import tenant_of
from stor.blobs.rules import check_namespace
from stor.blobs.tenants import Trees
from stor.blobs.view import View
from stor.errors import BadRequest
from stor.web.answer import Answer, Header
from stor.web.call import Call
from stor.web.conditions import tags

MOST_FILES = 10_000  # in a page
MOST_DIGITS = 9  # of a number in a query
LEAST_FILES = 8  # below that there is nothing to gain
JSON: Header = (b"content-type", b"application/json")
VARY: Header = (b"vary", b"accept-encoding")
GZIP: Header = (b"content-encoding", b"gzip")
FRESH: Header = (b"cache-control", b"private, no-cache")


class _Next(Struct):
    """What a page says of the next one."""

    next: str | None


class Index:
    """`GET /sync` and `GET /sync/{namespace}`."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    async def show(self, call: Call, namespace: str = "") -> Answer:
        """Answer with the index, or as much of it as was asked for; 304 when the caller has it."""
        if namespace:
            check_namespace(namespace)
        asked = {name: call.query[name] for name in ("since", "after", "limit") if name in call.query}
        if "since" in asked and len(asked) > 1:
            raise BadRequest("since goes with neither limit nor after")
        limit = _limit(asked)
        async with self._trees.lend(tenant_of(call)) as tree:
            view = await tree.view(namespace)
            if "since" in asked:
                return _part(view, view.since(asked["since"]))
            if asked:
                return _page(call, view, asked.get("after", ""), limit)
            return await _whole(call, view)


async def indexed(call: Call, view: View, status: int, headers: Sequence[Header]) -> Answer:
    """Answer a namespaced write with the whole index."""
    kept = (*headers, JSON, VARY, (b"cache-control", b"no-store"))
    if _may_zip(call, view):
        return Answer(status, (*kept, GZIP), await view.gzipped())
    return Answer(status, kept, await view.made())


async def _whole(call: Call, view: View) -> Answer:
    """A compressed answer is another representation, with another strong ETag (RFC 9110, 8.8.3.3)."""
    zipped = _may_zip(call, view)
    plain, other = view.etag, view.etag[:-1] + '-gzip"'
    headers: list[Header] = [(b"etag", (other if zipped else plain).encode()), *_known(view)]
    known = tags(call.header("if-none-match") or "")
    if known.has_weak(plain) or known.has_weak(other):
        return Answer(304, headers)
    if zipped:
        return Answer(200, (*headers, JSON, GZIP), await view.gzipped())
    return Answer(200, (*headers, JSON), await view.made())


def _part(view: View, body: bytes) -> Answer:
    return Answer(200, (JSON, *_known(view)), body)


def _page(call: Call, view: View, after: str, limit: int) -> Answer:
    body = view.page(after, limit)
    following = json.decode(body, type=_Next).next
    if following is None:
        return _part(view, body)
    query = urlencode({"limit": limit, "after": following})
    link = f'<{quote(call.path)}?{query}>; rel="next"'
    return Answer(200, (JSON, *_known(view), (b"link", link.encode())), body)


def _known(view: View) -> tuple[Header, ...]:
    return (b"x-cursor", view.cursor.encode()), VARY, FRESH


def _limit(asked: Mapping[str, str]) -> int:
    given = asked.get("limit", str(MOST_FILES))
    short = given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS
    if not short or not 1 <= int(given) <= MOST_FILES:
        text = f"Input should be a whole number from 1 to {MOST_FILES}"
        raise Invalid("int_parsing", ("query", "limit"), text, given[:64])
    return int(given)


def _may_zip(call: Call, view: View) -> bool:
    return takes_gzip(call.header("accept-encoding") or "") and view.entries >= LEAST_FILES


def takes_gzip(accepted: str) -> bool:
    """Read Accept-Encoding (RFC 9110, 12.5.3): gzip by its own name, else by `*`, and not with a weight of 0."""
    weights: dict[str, bool] = {}
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        weights[coding.strip()] = weight.strip().replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))
