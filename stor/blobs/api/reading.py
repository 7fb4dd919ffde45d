"""How a file is shown to its readers: its headers, and what keeps it from being a script of ours."""

from twisted.web.http import datetimeToString

from stor.blobs.rules import Entry
from stor.errors import Forbidden
from stor.web.answer import Header
from stor.web.call import Call

# Whatever was stored, a browser must not run it in our name: not as a page (sandbox), not by guessing (nosniff), and
# no other site may pull it in.
GUARDS: tuple[Header, ...] = (
    (b"accept-ranges", b"bytes"),
    (b"cache-control", b"private, no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
DEFAULT_TYPE = "application/octet-stream"
_PAGES = {"embed", "fencedframe", "frame", "iframe", "object"}
_SCRIPTS = {"audioworklet", "paintworklet", "script", "serviceworker", "sharedworker", "style", "worker", "xslt"}
_RUN = _PAGES | _SCRIPTS


def refuse_to_run(call: Call) -> None:
    """Raise Forbidden where a browser says that it would run the bytes (Fetch Metadata): a type may be a lie."""
    if call.header("sec-fetch-dest") in _RUN:
        raise Forbidden("Files are not served as parts of pages")


def marks(entry: Entry) -> list[Header]:
    """Give the headers by which a state of a file is known."""
    return [(b"etag", b'"%s"' % entry.md5.encode()), (b"x-version", b"%d" % entry.version)]


def described(entry: Entry) -> list[Header]:
    """Give the headers of a file to read."""
    kind = (entry.content_type or DEFAULT_TYPE).encode("latin-1", "replace")
    return [*marks(entry), (b"last-modified", modified(entry)), (b"content-type", kind), *GUARDS]


def modified(entry: Entry) -> bytes:
    """Write the time of the last change as HTTP does, in whole seconds."""
    return bytes(datetimeToString(entry.modified // 1_000_000))
