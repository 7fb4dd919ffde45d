"""Finding out what an S3 server can, by trying it on keys that nobody else knows."""

import secrets
from collections.abc import Awaitable
from dataclasses import dataclass

from twisted.logger import Logger

from stor.errors import Failed, PreconditionFailed
from stor.storage.boto import Boto
from stor.storage.listing import in_order
from stor.storage.objects import Objects
from stor.storage.promise import ABSENT

_OTHER = "0" * 32  # an etag that nothing has
log = Logger()


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the server decides itself, and whether it lists keys in the order of UTF-8."""

    put: bool = True
    delete: bool = True
    copy: bool = True
    parts: bool = True
    order: bool = True


async def abilities(objects: Objects, boto: Boto, prefix: str) -> Abilities:
    """Try it all, below a random name of our own, and remove what was put."""
    place = f"{prefix}{secrets.token_hex(8)}/"
    first, second, third = place + "a!", place + "a/b", place + "a"
    try:
        await objects.learn_sums(first)
        made = await objects.put(first, b"1")
        await objects.put(second, b"2")
        found = Abilities(
            put=await _refuses(objects.put(first, b"3", when=ABSENT))
            and await _refuses(objects.put(first, b"3", when=_OTHER))
            and await _takes(objects.put(first, b"1", when=made.etag)),
            copy=await _refuses(objects.copy(first, third, _OTHER)),
            parts=await _refuses(objects.put(first, b"3", when=ABSENT, in_parts=True))
            and await _refuses(objects.put(first, b"3", when=_OTHER, in_parts=True)),
            order=[listed.key async for page in in_order(boto, place, "") for listed in page] == [first, second],
            delete=await _refuses(objects.delete(first, _OTHER)),
        )
    finally:
        for key in (first, second, third):
            await objects.delete(key)
    if not found.put:
        log.warn("this bucket has no conditional writes: no second process may write to it")
    return found


async def _refuses(asked: Awaitable[object]) -> bool:
    """Tell whether a condition that does not hold is noticed."""
    try:
        await asked
    except PreconditionFailed:
        return True
    except Failed:
        pass  # it does not know such a condition, and says so
    return False


async def _takes(asked: Awaitable[object]) -> bool:
    """Tell whether a condition that holds is no obstacle."""
    try:
        await asked
    except (PreconditionFailed, Failed):
        return False
    return True
