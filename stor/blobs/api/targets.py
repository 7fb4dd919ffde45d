"""Which file a request means, in which dialect, and in whose tree."""

from dataclasses import dataclass

from stor.access.principal import NOBODYS
from stor.errors import BadRequest, Denied, Forbidden
from stor.web.call import Call

_PLAIN = "/blob/"
_TAKEN = frozenset({"blob", "sync"})  # first segments that belong to the plain dialect and to the index


@dataclass(frozen=True, slots=True)
class Target:
    """A file by its `path` in the tree; `namespace` is None in the plain dialect."""

    path: str
    namespace: str | None = None


def target_of(path: str) -> Target:
    """Read a decoded path: what begins with `/blob/` is plain, else the first `/blob/` parts namespace and path."""
    if path.startswith(_PLAIN):
        return Target(path.removeprefix(_PLAIN))
    namespace, _, rest = path[1:].partition(_PLAIN)
    first = namespace.partition("/")[0]
    if first in _TAKEN:
        raise BadRequest(f"A namespace cannot begin with the segment {first}")
    return Target(f"{namespace}/{rest}", namespace)


def tenant_of(call: Call) -> str | None:
    """Tell whose tree is meant, None for the root one; Forbidden for what is out of the caller's reach."""
    wished, principal = call.header("x-tenant"), call.principal
    if principal is None:
        raise Denied("this needs a credential")
    if wished is None:
        return None if principal.tenant == NOBODYS else principal.tenant  # what is nobody's is in the root tree
    if not principal.reaches(wished):
        raise Forbidden("This credential is of another tenant")
    return wished
