"""One request as handlers see it: who asks for what, and the body that came."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_to_bytes

from stor.access.address import Trusted, forwarded_for
from stor.access.principal import Principal
from stor.errors import BadRequest
from stor.streams.sink import Sink
from stor.web.memory import Memory

MOST_FIELDS = 100  # in a query
_NONE: Mapping[str, str] = {}


class Call:
    """A request; `principal`, `route` and `body` are known from when the room has found them.

    `headers` has each lower-case name once, several lines joined by ", ". `announced` is the Content-Length, None
    for a body in chunks, 0 for none. `path` is decoded once, and keeps its empty segments.
    """

    __slots__ = (
        "_query",
        "_remote",
        "_trusted",
        "announced",
        "body",
        "headers",
        "method",
        "path",
        "peer",
        "principal",
        "raw_path",
        "raw_query",
        "request_id",
        "route",
        "topic",
    )

    body: Sink

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        *,
        announced: int | None = 0,
        request_id: str = "-",
        peer: str = "",
        trusted: Trusted | None = None,
    ) -> None:
        self.method, self.headers, self.announced = method, headers, announced
        if not target.startswith(b"/"):
            target = _origin_form(target)
        self.raw_path, _, self.raw_query = target.partition(b"?")
        self.request_id, self.peer, self._trusted = request_id, peer, trusted
        self.path = ""
        self.route = "none"  # the rule that matched: a bounded label, unlike the path
        self.topic = ""  # what the part's own figures say it was about; for the part to set
        self.principal: Principal | None = None
        self._remote: str | None = None
        self._query: Mapping[str, str] | None = None

    def header(self, name: str) -> str | None:
        """Give the value of a header by its lower-case name; bytes that are not UTF-8 come as surrogates."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("utf-8", "surrogateescape")

    @property
    def query(self) -> Mapping[str, str]:
        """The query's fields, of several with one name the last; BadRequest when it is not UTF-8."""
        if self._query is None:
            self._query = _fields(self.raw_query) if self.raw_query else _NONE
        return self._query

    @property
    def remote(self) -> str:
        """The client's address, by X-Forwarded-For only where the peer is trusted."""
        if self._remote is None:
            words = self.headers.get(b"x-forwarded-for")
            if words is None or self._trusted is None:
                self._remote = self.peer
            else:
                self._remote = forwarded_for(words.decode("latin-1"), self.peer, self._trusted)
        return self._remote

    @property
    def content(self) -> bytes:
        """The body, where it was kept in memory (a route without a sink of its own)."""
        if not isinstance(self.body, Memory):
            raise TypeError("this route has a sink of its own: ask `body`")
        return self.body.content

    def read_path(self) -> None:
        """Decode the path into `path`; BadRequest when it is not UTF-8, is none, or has a fragment."""
        raw = self.raw_path
        if b"#" in raw:
            raise BadRequest("a request has no fragment")
        if b"%" in raw:
            raw = unquote_to_bytes(raw)
        try:
            path = self.path = raw.decode()
        except UnicodeDecodeError:
            self.path = raw.decode(errors="backslashreplace")
            raise BadRequest("the path is not UTF-8") from None
        if path[:1] != "/":
            raise BadRequest("the path does not begin with a slash")


def _origin_form(target: bytes) -> bytes:
    """Take the absolute form for the path that it names: RFC 9112, 3.2.2."""
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in {b"http", b"https"}:
        return target
    authority_end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    path = rest[authority_end:]
    return path if path.startswith(b"/") else b"/" + path


def _fields(query: bytes) -> Mapping[str, str]:
    try:
        text = query.decode("utf-8")
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8") from None
    except ValueError:
        raise BadRequest(f"a query may have {MOST_FIELDS} fields") from None
