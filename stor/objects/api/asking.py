"""What the calls that list and count have in common: limits, cursors, texts and bodies."""

from typing import TypeVar

from msgspec import DecodeError
from msgspec.json import Decoder

from stor.database.promise import Asker
from stor.errors import BadRequest
from stor.objects.api.places import check_own, whose
from stor.objects.listing import MOST
from stor.objects.records import Name
from stor.objects.rules import KEY_BYTES, check_tenant, namespace_of
from stor.web.call import Call

T = TypeVar("T")

LIMIT = 50
_PATIENCE = 15.0  # seconds until it is better to hear that too many ask


def asker(call: Call) -> Asker:
    """Tell the database for whom it reads: each tenant has its turn, and in a tenant each credential."""
    principal = call.principal
    return Asker() if principal is None else Asker(principal.tenant or "", principal.name, _PATIENCE)


def limit(call: Call) -> int:
    """Read `limit`: 50 when nothing is said."""
    said = call.query.get("limit", str(LIMIT))
    if not (said.isascii() and said.isdigit() and len(said) <= len(str(MOST))):
        raise BadRequest(f"limit is a number from 1 to {MOST}")
    return checked_limit(int(said))


def checked_limit(number: int) -> int:
    """Give it back; BadRequest for what no page can have."""
    if not 1 <= number <= MOST:
        raise BadRequest(f"limit is a number from 1 to {MOST}")
    return number


def namespace(call: Call) -> str | None:
    """Read `namespace` of the query, or X-Namespace; None: all."""
    said, field = call.header("x-namespace"), call.query.get("namespace")
    if said is not None and field not in {None, said}:
        raise BadRequest("X-Namespace and the query say different things")
    named = field if said is None else said
    return None if named is None else namespace_of(named)


def tenant(call: Call, named: str | None) -> str | None:
    """Give the tenant that a call with a body is about, which may name one, too; None: all."""
    asked = whose(call)
    if named is None:
        return asked
    check_tenant(named)
    check_own(call, Name("", named))
    if asked not in {None, named}:
        raise BadRequest("X-Tenant and the body name different tenants")
    return named


def part_of_key(name: str, text: str) -> str:
    """Give a part of a key back; BadRequest for what no key has: the database should not see it either."""
    if any(ord(each) < 0x20 or 0x7F <= ord(each) < 0xA0 for each in text) or len(text.encode()) > KEY_BYTES:
        raise BadRequest(f"{name} is at most {KEY_BYTES} bytes of UTF-8 without control characters")
    return text


def body(call: Call, decoder: Decoder[T]) -> T:
    """Read a body; BadRequest says what is wrong with it."""
    try:
        return decoder.decode(call.content)
    except (DecodeError, UnicodeDecodeError) as why:  # msgspec's ValidationError is a DecodeError
        raise BadRequest(f"the body is not what was expected: {why}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
