"""A large body, sent to S3 in parts."""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults

from stor.storage.asking import Asker, Upload
from stor.storage.boto import Boto
from stor.storage.promise import Condition
from stor.storage.sums import Sums, with_md5
from stor.streams.file import FilePart
from stor.streams.temporary import Temporary
from stor.threads import Threads

WHOLE = 64 * 1024 * 1024  # bytes that are sent at once
_PART = 16 * 1024 * 1024
_PARTS = 10_000  # S3 takes no more
_AT_ONCE = 4
_SLOWEST = 256 * 1024  # bytes in a second, below which we give up
_UNKNOWN: Mapping[str, str] = {}


def upload_of(
    file: Temporary, start: int, stop: int, threads: Threads, digests: Mapping[str, str] = _UNKNOWN
) -> Upload:
    """Give a part of a file as a body to send; `digests` are those that are known of it."""
    return Upload(
        size=stop - start,
        open=lambda: FilePart(file, start, stop, threads).read,
        digest=digests.get("sha256"),
        md5=digests.get("md5"),
        seconds=(stop - start) / _SLOWEST,
    )


def parts_of(file: Temporary, size: int, threads: Threads) -> Sequence[Upload]:
    """Divide a file into parts of 16 MiB, or larger ones when there would be too many."""
    each = max(_PART, -(-size // _PARTS))
    return [upload_of(file, start, min(start + each, size), threads) for start in range(0, size, each)]


class Parts:
    """Sends the parts of a body, four at a time."""

    def __init__(self, asker: Asker, boto: Boto, threads: Threads, sums: Sums) -> None:
        self._asker, self._boto, self._threads, self._sums = asker, boto, threads, sums

    async def put(
        self, key: str, parts: Sequence[Upload], content_type: str, metadata: Mapping[str, str], when: Condition
    ) -> str:
        """Put them under the key, if the condition holds at the end; gives its etag. Nothing is left of a failure."""
        upload = await self._boto.begin_parts(key, content_type, metadata)
        try:
            etags = await self._send_all(key, upload, parts)
            return await self._boto.end_parts(key, upload, etags, when)
        except BaseException as why:
            dropping = Deferred.fromCoroutine(self._boto.drop_parts(key, upload))
            if not isinstance(why, CancelledError):  # who cancels does not wait
                await dropping
            raise

    async def _send_all(self, key: str, upload: str, parts: Sequence[Upload]) -> list[str]:
        etags = [""] * len(parts)
        waiting = iter(enumerate(parts))

        async def send_some() -> None:
            for n, part in waiting:
                part = await with_md5(part, self._threads)  # noqa: PLW2901 - the same, and we know more of it
                outcome = await self._asker.ask("PUT", key, {}, part, {"partNumber": str(n + 1), "uploadId": upload})
                if outcome.error is not None:
                    raise outcome.error
                etags[n] = self._sums.etag(outcome.answer.headers, part)

        sending = [Deferred.fromCoroutine(send_some()) for _ in range(min(_AT_ONCE, len(parts)))]
        try:
            await gatherResults(sending, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
        finally:
            for one in sending:
                one.cancel()
        return etags
