"""The keys of a bucket as its server has them: conditions are what the server makes of them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from hashlib import md5, sha256

from stor.errors import Failed, Missing, NotSatisfiable, PreconditionFailed, StorError, Unavailable
from stor.storage import headers
from stor.storage.asking import Asker, Outcome, Upload
from stor.storage.boto import Boto
from stor.storage.connection import Answer
from stor.storage.faults import Altered, is_altered
from stor.storage.parts import WHOLE, Parts, parts_of, upload_of
from stor.storage.promise import Condition, Found, Info
from stor.storage.sums import Sums, said
from stor.streams.spool import Spool
from stor.streams.stream import Body
from stor.threads import Threads

_HASHED_AT_ONCE = 256 * 1024  # bytes; more would make the reactor wait

_MOST_WHOLE = 5 * 1024**3  # bytes that S3 takes at once


class Objects:
    """Each conditional put carries an id of its own in the metadata.

    When an attempt is lost on the way and the next one is refused, the id tells whether the first had succeeded. If
    the key has a third's state by then, nobody can know: ours may have been there in between. So that is Unavailable.
    """

    conditional_parts = True  # the server looks at the conditions of an upload in parts too

    def __init__(self, asker: Asker, boto: Boto, threads: Threads) -> None:
        self._asker, self._boto, self._threads = asker, boto, threads
        self.sums = Sums()
        self._parts = Parts(asker, boto, threads, self.sums)

    async def put(
        self,
        key: str,
        body: bytes | Spool,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        when: Condition = None,
        *,
        in_parts: bool = False,
    ) -> Info:
        """Put a body; in parts when it is large or that is asked for."""
        metadata = metadata or {}
        content_type = (content_type or "").strip() or None  # as it comes back: spaces around are no part of a header
        put_id = None if when is None else secrets.token_hex(12)
        said = headers.said(content_type, metadata if put_id is None else {**metadata, headers.PUT_ID: put_id})
        upload = await self._upload(body)
        if in_parts or upload.size > (WHOLE if when is None or self.conditional_parts else _MOST_WHOLE):
            etag, modified = await self._put_parts(key, body, upload, said, when, put_id)
        else:
            etag, modified = await self._put_whole(key, upload, said, when, put_id)
        return Info(key, upload.size, etag, modified, content_type, metadata)

    async def _upload(self, body: bytes | Spool) -> Upload:
        if isinstance(body, Spool):
            if body.file is not None:
                return upload_of(body.file, 0, body.size, self._threads, body.digests)
            if body.data is None:
                raise ValueError("a body is a spool that is finished, and was not used up or discarded")
            body = body.data
        if len(body) > _HASHED_AT_ONCE:
            digest = await self._threads.run(_digest, body)
        else:
            digest = _digest(body)
        return Upload(body, digest, len(body))

    async def _put_whole(
        self, key: str, upload: Upload, said: Mapping[str, str], when: Condition, put_id: str | None
    ) -> tuple[str, float]:
        upload, told = await self.sums.told(upload, self._threads)
        outcome = await self._asker.ask("PUT", key, {**said, **told, **headers.condition(when)}, upload)
        answered = outcome.answer.headers
        if outcome.error is None:
            return await self._etag(key, answered, upload), headers.date(answered)
        if not outcome.is_unsure or not isinstance(outcome.error, (Missing, PreconditionFailed)):
            raise _refusal(outcome.error, when)
        mine = await self._mine(key, put_id)
        if mine is None:
            raise Unavailable("a write was cut, and what became of it cannot be known", retry_after=1.0)
        return mine.etag, mine.modified

    async def _etag(self, key: str, answered: Mapping[str, str], upload: Upload) -> str:
        """Give the etag of what was put; what is something else by its etag is removed, and Unavailable."""
        try:
            return self.sums.etag(answered, upload)
        except Altered as why:
            with suppress(StorError):  # whoever wrote the key since then keeps it, and no other error is the reason
                await self.delete(key, why.etag)
            raise

    async def learn_sums(self, key: str) -> None:
        """Find out what the server makes of digests, by putting some bytes; the key may be there afterwards."""
        digest = _digest(b"2")
        wrong, right = [await self._asker.ask("PUT", key, said(digest), Upload(b, digest, 1)) for b in (b"1", b"2")]
        self.sums.compares = is_altered(wrong.code) and right.error is None
        self.sums.has_md5_etags = (await self.put(key, b"2")).etag == md5(b"2", usedforsecurity=False).hexdigest()

    async def _put_parts(
        self,
        key: str,
        body: bytes | Spool,
        upload: Upload,
        said: Mapping[str, str],
        when: Condition,
        put_id: str | None,
    ) -> tuple[str, float]:
        file = body.file if isinstance(body, Spool) else None
        parts = [upload] if file is None else parts_of(file, upload.size, self._threads)
        kind, metadata = headers.for_boto(said)
        try:
            etag = await self._parts.put(key, parts, kind, metadata, when)
        except (Missing, PreconditionFailed) as error:
            raise _refusal(error, when) from None
        except Unavailable:
            mine = await self._mine(key, put_id)
            if mine is None:
                raise
            return mine.etag, mine.modified
        return etag, (await self.head(key)).modified

    async def _mine(self, key: str, put_id: str | None) -> Info | None:
        """Look whether the key has the state that this put gave it."""
        outcome = await self._asker.ask("HEAD", key, {})
        answered = outcome.answer.headers
        is_mine = put_id is not None and outcome.error is None and headers.put_id(answered) == put_id
        return headers.info(key, answered) if is_mine else None

    async def get(self, key: str, start: int, stop: int | None, etag: str | None) -> Found:
        """Get bytes; more than 64 KiB as a stream from the connection."""
        if stop is not None and stop <= start:
            return await self._nothing(key, start, etag)
        asked = {**headers.span(start, stop), **headers.condition(etag)}
        outcome = await self._asker.ask("GET", key, asked)
        answer = outcome.answer
        if answer.status == 416:
            return await self._beyond(key, start, etag, outcome)
        if outcome.error is not None:
            raise outcome.error
        try:
            info = headers.info(key, await self._sized(key, answer))
        except BaseException:
            _close(answer.body)
            raise
        if "range" in asked and answer.status != 206 and (start or stop is None or info.size > stop):
            _close(answer.body)
            raise Failed("the storage knows no ranges")
        return Found(info, answer.body)

    async def _sized(self, key: str, answer: Answer) -> Mapping[str, str]:
        """Give its headers; the size that a chunked answer does not say is that of its bytes, or asked for."""
        said = answer.headers
        if "content-range" in said or "content-length" in said:
            return said
        if isinstance(answer.body, bytes):
            return {**said, "content-length": str(len(answer.body))}
        info = await self.head(key)
        if info.etag != said.get("etag", "").strip('"'):
            raise Unavailable("the key was changed while its size was asked for", retry_after=0.1)
        return {**said, "content-length": str(info.size)}

    async def _beyond(self, key: str, start: int, etag: str | None, outcome: Outcome) -> Found:
        """An empty object has no range that S3 would give."""
        if not start:
            return await self.get(key, 0, None, etag)
        size = outcome.answer.headers.get("content-range", "").rpartition("/")[2]
        raise NotSatisfiable("the range begins beyond the end", int(size) if size else (await self.head(key)).size)

    async def _nothing(self, key: str, start: int, etag: str | None) -> Found:
        """S3 knows no empty range."""
        info = await self.head(key)
        if etag is not None and etag != info.etag:
            raise PreconditionFailed("the key has another state")
        if start and start >= info.size:
            raise NotSatisfiable("the range begins beyond the end", info.size)
        return Found(info, b"")

    async def head(self, key: str) -> Info:
        """Ask what is known."""
        outcome = await self._asker.ask("HEAD", key, {})
        if outcome.error is not None:
            raise outcome.error
        return headers.info(key, outcome.answer.headers)

    async def delete(self, key: str, when: str | None = None) -> None:
        """Delete a key."""
        outcome = await self._asker.ask("DELETE", key, headers.condition(when))
        error = outcome.error
        if error is None or (when is None and isinstance(error, Missing)):
            return
        if when is not None and outcome.is_unsure and isinstance(error, (Missing, PreconditionFailed)):
            raise Unavailable("a deletion was cut, and what became of it cannot be known", retry_after=1.0)
        raise _refusal(error, when)

    async def copy(self, source: str, target: str, etag: str) -> None:
        """Copy a key."""
        await self._boto.copy(source, target, etag)


def _refusal(error: StorError, when: Condition) -> StorError:
    """A key that does not exist has not the state that was asked for: 412 for some servers, 404 for others."""
    if when is not None and isinstance(error, Missing):
        return PreconditionFailed("the key does not exist")
    return error


def _close(body: Body) -> None:
    if not isinstance(body, bytes):
        body.close()


def _digest(body: bytes) -> str:
    return sha256(body).hexdigest()
