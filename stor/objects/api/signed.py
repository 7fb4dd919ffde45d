"""What a presigned URL for PUT is good for: the one replacement it was made for, and to learn nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred

from stor.access.presign import is_presigned
from stor.errors import Conflict, Forbidden
from stor.objects.receiving import Receiving
from stor.web.call import Call

MATCH = "stor-match"  # of the query, signed with it: the ETag of what is to be replaced


def is_signed(call: Call) -> bool:
    """Tell whether a call is let in by a presigned URL."""
    return call.principal is not None and is_presigned(call.principal)


def check_signed(call: Call) -> None:
    """Raise Forbidden for what a presigned URL was not made for: other conditions, or a hash in place of bytes.

    Answers to those would tell its bearer what the key, and the tenant, has at any later time.
    """
    if call.header("if-match") != call.query.get(MATCH, "") or b"if-none-match" in call.headers:
        raise Forbidden("this URL is good with just the If-Match that it was made with")
    if not call.announced and b"x-content-hash" in call.headers and call.announced is not None:
        raise Forbidden("this URL is good for bytes, not for a hash in their place")


class Discreet:
    """A sink whose conflicts do not say what is there; `inner` is who receives."""

    def __init__(self, inner: Receiving) -> None:
        self.inner = inner

    @property
    def size(self) -> int:
        """Bytes that came so far."""
        return self.inner.size

    @property
    def over(self) -> bool:
        """Whether `finish` will raise, so that nothing more need come."""
        return self.inner.over

    def write(self, data: bytes) -> Deferred[None] | None:
        """Take a piece."""
        return self.inner.write(data)

    async def finish(self) -> None:
        """All has come; raises what went wrong."""
        with discreetly():
            await self.inner.finish()

    def discard(self) -> None:
        """Forget it."""
        self.inner.discard()


@contextmanager
def discreetly() -> Iterator[None]:
    """Raise conflicts without what they tell of the object that is there."""
    try:
        yield
    except Conflict as why:
        raise type(why)(str(why), code=why.code) from None
