"""Which object a call means, in whose tenant, and whether that is within the caller's reach."""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from stor.access.principal import NOBODYS, Principal
from stor.errors import BadRequest, Denied, Forbidden
from stor.objects.commits import missing
from stor.objects.records import Name, Object
from stor.objects.rules import check_key, check_tenant, namespace_of
from stor.web.call import Call

BY_KEY = b"/v1/objects/by-key/"
_TENANT = ("x-tenant", "tenant_id", "tenant")


def whose(call: Call) -> str | None:
    """Give the tenant that a call is about: the one it names, else the caller's own; None: all of them.

    BadRequest for what names none; Forbidden for one out of reach. For calls that make, list or count.
    """
    principal, named = _principal(call), _said(call, *_TENANT)
    if named is None:
        return principal.tenant
    check_tenant(named)
    if not principal.reaches(named):
        raise Forbidden("this credential is of another tenant")
    return named


def one(call: Call) -> str:
    """Give the tenant that a call is about, as `whose`; BadRequest when that would be all of them."""
    tenant = whose(call)
    if tenant is None:
        raise BadRequest("a credential of all tenants must say which: X-Tenant")
    return tenant


def name_said(call: Call) -> Name:
    """Read the name from headers or query: X-Namespace, X-Tenant, and X-Key where there is one.

    BadRequest for what is no name; Forbidden for another's tenant.
    """
    namespace, key = _said(call, "x-namespace", "namespace"), _said(call, "x-key", "key")
    if namespace is None:
        raise BadRequest("X-Namespace is missing")
    if key is not None:
        check_key(key)
    return Name(namespace_of(namespace), one(call), key or "")


def name_in_path(call: Call) -> Name:
    """Read `/v1/objects/by-key/{namespace}/{tenant}/{key…}`; BadRequest for what is no name, whoever asks.

    The first two segments end at a raw slash, so that a tenant may have one as %2F; in the key both are the same.
    """
    raw = call.raw_path
    if not raw.startswith(BY_KEY):  # somebody encoded what need not be
        raise BadRequest(f"the path begins with {BY_KEY.decode()}, as it stands here")
    namespace, _, rest = raw[len(BY_KEY) :].partition(b"/")
    tenant, slash, key = rest.partition(b"/")
    if not slash:
        raise BadRequest("the path is /v1/objects/by-key/{namespace}/{tenant}/{key}")
    name = Name(namespace_of(_decoded(namespace)), _decoded(tenant), _decoded(key))
    check_tenant(name.tenant)
    check_key(name.key)
    _check_said(call, name.tenant)
    return name


def check_own(call: Call, name: Name) -> None:
    """Raise Forbidden unless the caller may make something of this name."""
    if not _principal(call).reaches(name.tenant):
        raise Forbidden("this credential is of another tenant")


def check_seen(call: Call, name: Name) -> None:
    """Raise Missing, as if it were not there, unless what has this name is in the caller's reach."""
    if not _principal(call).reaches(name.tenant):
        raise missing(name.key)


@dataclass(frozen=True, slots=True)
class Seeker:
    """Who looks for an object by its id, and the tenant that the call names, None where it names none."""

    principal: Principal
    named: str | None

    def check(self, found: Object) -> None:
        """Raise Missing, as if it were not there, unless the object is in reach, and of the tenant that was named."""
        if not self.principal.reaches(found.name.tenant) or self.named not in {None, found.name.tenant}:
            raise missing(found.id)


def seeker(call: Call) -> Seeker:
    """Read who looks for an object; Forbidden or BadRequest for a call that finds none.

    To be asked before the object is looked for: what is refused afterwards tells that there is one.
    """
    return Seeker(_principal(call), _said(call, *_TENANT))


def _principal(call: Call) -> Principal:
    principal = call.principal
    if principal is None:  # no route of ours is open; should one ever be, it gives nothing away
        raise Denied("this needs a credential")
    if principal.tenant == NOBODYS:
        raise Forbidden("this credential is of no tenant")
    return principal


def _said(call: Call, header: str, *fields: str) -> str | None:
    """Give what a header or a field of the query says; BadRequest where two of them say different things."""
    said = call.header(header)
    if not call.raw_query:
        return said
    words = {call.query[field] for field in fields if field in call.query}
    if said is not None:
        words.add(said)
    if len(words) > 1:
        raise BadRequest(f"{header} and the query say different things")
    return next(iter(words), None)


def _check_said(call: Call, tenant: str) -> None:
    """The path has said it; nothing else may say otherwise."""
    said = _said(call, *_TENANT)
    if said is not None and said != tenant:
        raise BadRequest("X-Tenant and the path name different tenants")


def _decoded(raw: bytes) -> str:
    """Decode one segment; that the whole is UTF-8 was seen by who routed, but a part of it need not be."""
    try:
        return (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
