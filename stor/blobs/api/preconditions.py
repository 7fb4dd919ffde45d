"""What a write's headers demand of what is there, as conditions of the tree."""

import re
from collections.abc import Callable, Iterator

from stor.blobs.rules import ANY, All, Anything, Condition, Etags, Md5, New, NotExisting, Version
from stor.errors import BadRequest, Unprocessable

Header = Callable[[str], str | None]
VERSION = "If-Match-Version"

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*"'
_TAGS = re.compile(rf"[\s,]*{_TAG}(?:\s*,[\s,]*{_TAG})*[\s,]*")
_STRONG = re.compile(r'(W/)?"([^"]*)"')
_MD5 = re.compile(r"[0-9a-f]{32}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NEVER = ("if-modified-since", "if-unmodified-since")


class Invalid(Unprocessable):
    """A header or a query that is missing or cannot be read: `place` is where, `kind` and `given` what is wrong."""

    def __init__(self, kind: str, place: tuple[str, str], message: str, given: str | None) -> None:
        super().__init__(message)
        self.kind, self.place, self.given = kind, place, given


def plain_put(header: Header) -> Condition:
    """Read `Content-MD5` (of what is there), `If-Match-Version` and the standard preconditions."""
    md5 = header("content-md5")
    own: list[Condition] = [] if md5 is None else [New() if md5 == "new" else Md5(_ascii(md5))]
    return _together([*own, *_version(header), *standard(header)])


def namespaced_put(header: Header) -> Condition:
    """Read `If-Match-Version`, which must be there unless a standard precondition is."""
    found = [*_version(header), *standard(header)]
    if not found:
        raise Invalid("missing", ("header", VERSION), "Field required", None)
    return _together(found)


def optional(header: Header) -> Condition:
    """Read the preconditions of a restore, in either dialect: `If-Match-Version` and the standard ones."""
    return _together([*_version(header), *standard(header)])


def deletion(header: Header) -> Condition:
    """Read those of a DELETE, where the quotes of `If-Match` may be missing."""
    bare = (header("if-match") or "").strip()

    def quoted(name: str) -> str | None:
        return f'"{bare}"' if name == "if-match" and _MD5.fullmatch(bare) else header(name)

    return optional(quoted)


def standard(header: Header) -> Iterator[Condition]:
    """Read If-Match and If-None-Match (RFC 9110, 13.1); BadRequest for what we could not keep to on a write."""
    for name in _NEVER:
        if header(name) is not None:
            raise BadRequest(f"{name} is no precondition of a write here: use If-Match")
    if (match := header("if-match")) is not None:
        yield Etags(etags(match))
    if (none := header("if-none-match")) is not None:
        if none.strip() != "*":
            raise BadRequest("If-None-Match on a write can only be *")
        yield NotExisting()


def etags(value: str) -> frozenset[str] | None:
    """Give the strong tags of a list, ANY for `*`; a weak one matches nothing here (RFC 9110, 13.1.1)."""
    if value.strip() == "*":
        return ANY
    if not _TAGS.fullmatch(value):
        raise BadRequest("If-Match is neither * nor a list of quoted ETags")
    return frozenset(_ascii(tag) for weak, tag in _STRONG.findall(value) if not weak)


def _version(header: Header) -> Iterator[Condition]:
    given = header(VERSION.lower())
    if given is None:
        return
    if not _INTEGER.fullmatch(given.strip()):
        raise Invalid("int_parsing", ("header", VERSION), "Input should be a valid integer", _ascii(given[:64]))
    yield Version(int(given))


def _ascii(given: str) -> str:
    """Write what no md5 and no number of ours can be so that it can be told: headers may hold any bytes."""
    return given.encode("ascii", "backslashreplace").decode()


def _together(found: list[Condition]) -> Condition:
    match found:
        case []:
            return Anything()
        case [one]:
            return one
    return All(tuple(found))
