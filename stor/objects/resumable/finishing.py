"""From parts to an object: once, whoever tries it, and however often."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.errors import StorError, Unavailable
from stor.objects.ownership import identity, owner_of
from stor.objects.receiving import Receiving
from stor.objects.records import Created
from stor.objects.resumable import claims, rows
from stor.objects.resumable.background import Background
from stor.objects.resumable.desk import Desk
from stor.objects.resumable.pouring import pour_part
from stor.objects.resumable.records import State, Upload
from stor.objects.resumable.rules import Doubtful, damaged
from stor.threads import Threads

AT_ONCE = 4
CLAIM_SECONDS, RENEW_SECONDS = 60.0, 20.0
FIRST_SECONDS, MOST_SECONDS = 2.0, 3600.0  # until it is tried again
PAGE = 100
NAME = "finish "
log = Logger()


class Finishing:
    """Makes objects of uploads that are whole.

    The object and the end of the upload are written in one transaction, so there is one object, whatever crashes. A
    claim only keeps several processes from doing the same work.
    """

    def __init__(self, desk: Desk, background: Background, threads: Threads) -> None:
        self._desk, self._background, self._threads = desk, background, threads
        self._places = DeferredSemaphore(AT_ONCE)

    def finish(self, upload_id: str) -> Deferred[Upload]:
        """Give the upload, DONE, or whole as before when another process is at work on it; raises why it failed.

        Who stops waiting does not end it.
        """
        return self._background.run(NAME + upload_id, lambda: self._finish(upload_id))

    def start(self, upload_id: str) -> None:
        """Do it some time soon."""
        self._background.start(NAME + upload_id, lambda: self._finish(upload_id))

    def cancel(self, upload_id: str = "") -> None:
        """End it, for one upload or for all."""
        self._background.cancel(NAME + upload_id)

    async def _finish(self, upload_id: str) -> Upload:
        desk, node = self._desk, self._desk.objects.node
        until = desk.at(CLAIM_SECONDS)
        upload = await desk.write(lambda tx, at: claims.claim(tx, at, upload_id, node, until))
        if upload is None:
            return await self._others(upload_id)
        renewing = LoopingCall(self._renew, upload_id)
        renewing.clock = desk.reactor
        renewing.start(RENEW_SECONDS, now=False)
        try:
            await self._places.acquire()
            try:
                return finished(upload, await self._join(upload))
            finally:
                self._places.release()
        except CancelledError:
            raise
        except Exception as why:  # noqa: BLE001 - whatever it was, it is written down
            return await self._refused(upload, why)
        finally:
            renewing.stop()

    async def _others(self, upload_id: str) -> Upload:
        upload = await self._desk.read(partial(rows.find, upload_id=upload_id, tenant=None, now=self._desk.at()))
        if upload.error is not None:
            raise upload.error
        return upload

    async def _refused(self, upload: Upload, why: Exception) -> Upload:
        """Write down why not; but it may have been done by another, or by a commit of which we did not hear."""
        if not isinstance(why, StorError):
            log.failure("{id} cannot become an object", id=upload.id)
        error = why if isinstance(why, StorError) else Unavailable("the object could not be made")
        if isinstance(error, Doubtful) and await self._is_damaged(upload):
            error = damaged(error.start)
        until = self._desk.at(min(FIRST_SECONDS * 2 ** min(upload.tries - 1, 20), MOST_SECONDS))
        node = self._desk.objects.node
        found = await self._desk.write(lambda tx, at: claims.refuse(tx, at, upload, node, error, until))
        if found.state is State.DONE:
            return found
        raise error

    async def _is_damaged(self, upload: Upload) -> bool:
        """Tell whether it has been so for long, in a store that is there and certainly ours."""
        desk, draft = self._desk, upload.draft
        since = upload.damaged_at
        if since is None or desk.at(-desk.settings.damage_seconds) < since:
            return False
        try:
            ours = await identity(desk.objects.database, draft.storage_class)
            return await owner_of(desk.store(draft)) == ours  # `owns` would take an empty folder where none is mounted
        except StorError:
            return False  # it is away

    async def _join(self, upload: Upload) -> Created:
        desk = self._desk
        if upload.attempt is not None:
            await desk.objects.give_up(upload.attempt)  # it may hold the key
        body = desk.receive(upload, upload.received)
        try:
            await body.written_down()
            await self._pour(upload, body)
            await body.finish()
        except BaseException:
            body.discard()
            raise
        expires = desk.expires()  # from here on the body belongs to `create`, which goes on when we are cancelled
        return await desk.objects.create(body, lambda tx, made: claims.done(tx, desk.at(), upload, made, expires))

    async def _pour(self, upload: Upload, body: Receiving) -> None:
        store, start = self._desk.store(upload.draft), 0
        while start < upload.received and not body.over:
            page = await self._desk.read(partial(rows.parts, upload_id=upload.id, start=start, limit=PAGE))
            for part in page:
                if part.start != start:
                    break
                await pour_part(store, part, body, self._threads)
                start += part.size
            else:
                if page:
                    continue
            raise damaged(start)

    async def _renew(self, upload_id: str) -> None:
        desk, node = self._desk, self._desk.objects.node
        until = desk.at(CLAIM_SECONDS)
        try:
            await desk.write(lambda tx, _: claims.renew(tx, upload_id, node, until))
        except StorError as why:
            log.info("a claim was not renewed: {why}", why=why)


def finished(upload: Upload, made: Created) -> Upload:
    """Give the upload as it is when its object has been made."""
    found = made.object
    return Upload(
        upload.id,
        upload.draft,
        upload.said,
        State.DONE,
        length=found.size,
        received=found.size,
        parts=0,
        coming=None,
        object_id=found.id,
        digest=found.digest,
        error=None,
        attempt=None,
        claimed_until=0,
        tries=upload.tries,
        damaged_at=None,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
    )
