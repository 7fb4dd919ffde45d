"""How an object is written: `stor://namespace/tenant/key`, or its id (pure)."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlencode

from stor.errors import BadRequest

SCHEME = "stor://"
OBJECTS = "/v1/objects"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Name:
    """A place in the store: an object when it has a key, else all of a tenant, a namespace, or everything."""

    namespace: str = ""
    tenant: str = ""
    key: str = ""

    def __str__(self) -> str:
        parts = (_shown(self.namespace), _shown(self.tenant, "/"), _shown(self.key))
        return SCHEME + "/".join(parts[: 3 if self.key else 2 if self.tenant else 1])

    @property
    def target(self) -> str:
        """The path of the object; only raw slashes part it, so no key can be taken for another."""
        return f"{OBJECTS}/by-key/" + "/".join(_quoted(part) for part in (self.namespace, self.tenant, self.key))

    @property
    def query(self) -> str:
        """The same for calls that take a name as fields."""
        fields = {"namespace": self.namespace, "tenant_id": self.tenant, "key": self.key}
        return urlencode({name: text for name, text in fields.items() if text}, quote_via=quote, safe="")

    @property
    def is_folder(self) -> bool:
        """Whether keys below it are meant, as `photos/` says, rather than one object."""
        return not self.key or self.key.endswith("/")

    def below(self, path: str) -> "Name":
        """Give the name of `path` in this folder."""
        return Name(self.namespace, self.tenant, self.folder + path)

    @property
    def folder(self) -> str:
        """What all keys below it begin with."""
        return self.key if self.is_folder else self.key + "/"


@dataclass(frozen=True, slots=True)
class Id:
    """An object by its id."""

    id: str

    def __str__(self) -> str:
        return self.id

    @property
    def target(self) -> str:
        """Its path."""
        return f"{OBJECTS}/{self.id}"


Ref = Name | Id


def is_remote(text: str) -> bool:
    """Tell whether `named` reads it; a file of such a name is written with `./` before it."""
    return text.startswith(SCHEME) or _ID.fullmatch(text) is not None


def named(text: str) -> Ref:
    """Read an id or `stor://namespace/tenant/key`; BadRequest when it is neither.

    `%XX` is decoded in all three parts, so a tenant may have a slash as %2F; of other characters none is special, and
    whatever follows the second slash is the key.
    """
    if _ID.fullmatch(text):
        return Id(text.lower())
    if not text.startswith(SCHEME):
        raise BadRequest(f"{_shown(text)}: an object is written {SCHEME}namespace/tenant/key, or as its id")
    if _LONE_PERCENT.search(text):
        raise BadRequest(f"{text!r}: a percent sign is written %25")
    parts = [_decoded(part) for part in text.removeprefix(SCHEME).split("/", 2)]
    name = Name(*parts)
    if (name.tenant and not name.namespace) or (name.key and not name.tenant):
        raise BadRequest(f"{text!r}: it is written {SCHEME}namespace/tenant/key")
    return name


def place(text: str) -> Name:
    """Read a name where an id will not do."""
    found = named(text)
    if isinstance(found, Id):
        raise BadRequest(f"{found}: an id names one object that is there; {SCHEME}namespace/tenant/key is needed")
    return found


def _decoded(part: str) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeError:
        raise BadRequest(f"{part!r}: a name is UTF-8") from None


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _shown(text: str, also: str = "") -> str:
    """Write it so that `named` reads it again, on one line and without spaces."""
    return "".join(
        letter if letter.isprintable() and letter not in " %" + also else quote(letter, safe="", errors="replace")
        for letter in text
    )
