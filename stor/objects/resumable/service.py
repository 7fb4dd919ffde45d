"""Uploads that can be resumed: begun, continued, looked at, ended; forgotten when nobody comes back."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLong
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from stor.errors import StorError
from stor.objects.core import Objects
from stor.objects.ids import is_id
from stor.objects.resumable import claims, rows, sweeping
from stor.objects.resumable.background import Background
from stor.objects.resumable.desk import Desk, Settings
from stor.objects.resumable.finishing import AT_ONCE, Finishing
from stor.objects.resumable.keeping import KEEP, Keeping, work_name
from stor.objects.resumable.piece import Piece
from stor.objects.resumable.records import Plan, State, Upload, Wanted
from stor.objects.resumable.rules import Checksum, unknown
from stor.threads import Threads

__all__ = ["Settings", "Uploads"]

EXPIRE_SECONDS, SWEEP_SECONDS = 60.0, 3600.0
ROUND = "round "
PAGE = 8  # uploads that are forgotten in one transaction
THREADS = 2  # that read small uploads, and hash parts
log = Logger()


class Uploads(Service):
    """Uploads in pieces, by any number of processes over one database and its stores.

    What an upload has `received` is durable. Where a call says `tenant`, uploads of others are Missing
    (UPLOAD_NOT_FOUND); None: of all. Work that was begun goes on when who waits for it has left.
    """

    def __init__(self, objects: Objects, settings: Settings, reactor: Any) -> None:
        self.objects = objects
        self.most_bytes = objects.settings.most_bytes
        self._desk = Desk(objects, settings, reactor)
        self._reactor = reactor
        self._threads = Threads("uploads", THREADS, reactor)
        self._background = Background()
        self._finishing = Finishing(self._desk, self._background, self._threads)
        self._keeping = Keeping(self._desk, self._background, self._finishing, self._threads)
        self._rounds: list[LoopingCall] = []

    def startService(self) -> Deferred[None]:
        """Take up what a former life of this process was at."""
        super().startService()
        self._threads.startService()
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        node = self._desk.objects.node
        await self._desk.write(lambda tx, _: claims.free_claims(tx, node))
        often, seldom = LoopingCall(self._round, self.expire), LoopingCall(self._round, self.sweep)
        often.clock = seldom.clock = self._reactor
        often.start(EXPIRE_SECONDS)
        seldom.start(SWEEP_SECONDS, now=False)
        self._rounds = [often, seldom]

    def stopService(self) -> Deferred[None]:
        """End when what has arrived is kept; objects that are being made are made after the next start."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for each in self._rounds:
            each.stop()
        for begins in (ROUND, KEEP):  # these may begin to make objects
            await self._background.settled(begins)
        self._finishing.cancel()
        await self._background.settled()
        await self._threads.stopService()

    # ---- bytes that come

    def begin(self, plan: Plan, announced: int | None, checksum: Checksum | None) -> Piece:
        """Give a place for the first piece of an upload that is to be made, `announced` bytes (None: unknown).

        Raises TooLarge; what else forbids the upload is raised by the piece's `finish`, or by `create`.
        """
        return self._keeping.first(plan, announced, self._piece(checksum))

    async def create(self, piece: Piece) -> Upload:
        """Make the upload, with what came.

        Raises what `POST /v1/objects` does, as far as it is known; TooMany; Full or TooLarge (QUOTA_EXCEEDED), for what
        is announced counts; Mismatch.
        """
        return await self._finished(await self._background.run(work_name(piece), partial(self._keeping.create, piece)))

    def piece(self, wanted: Wanted, checksum: Checksum | None) -> Piece:
        """Give a place for the next piece of an upload; its `finish` raises what `rules.room` does, and Missing."""
        return self._keeping.next(wanted, self._piece(checksum))

    async def append(self, piece: Piece) -> Upload:
        """Keep a piece; when it was the last, make the object: then the upload is DONE.

        Raises Conflict (UPLOAD_OVERTAKEN), Mismatch, and why there is no object.
        """
        return await self._finished(await self._background.run(work_name(piece), partial(self._keeping.append, piece)))

    # ---- the upload

    async def find(self, upload_id: str, tenant: str | None) -> Upload:
        """Give an upload as it is, when what broken connections have brought is kept."""
        if not is_id(upload_id):
            raise unknown(upload_id)
        await self._keeping.settled(upload_id, tenant)
        now = self._desk.at()
        return await self._desk.read(partial(rows.find, upload_id=upload_id, tenant=tenant, now=now))

    async def settled(self, upload_id: str, tenant: str | None) -> Upload:
        """Give an upload as `find`; of one that is whole, wait a while for the object, and raise why there is none."""
        upload = await self.find(upload_id, tenant)
        if upload.state is State.FAILED and upload.error is not None:
            raise upload.error
        if not upload.is_whole:
            return upload
        try:
            return await self._finishing.finish(upload_id).addTimeout(self._desk.settings.patience, self._reactor)
        except TooLong:
            return upload

    async def remove(self, upload_id: str, tenant: str | None) -> None:
        """Forget an upload and its bytes; an object that it became stays."""
        if not is_id(upload_id):
            raise unknown(upload_id)
        await self._desk.write(lambda tx, at: rows.remove(tx, at, upload_id, tenant))
        self._keeping.drop(upload_id)
        self._finishing.cancel(upload_id)

    # ---- what is done from time to time

    async def expire(self) -> int:
        """Forget uploads whose time is over, and go on with objects that nobody is making; gives how many it forgot."""
        if coming := self._keeping.coming:
            expires = self._desk.expires()
            await self._desk.write(lambda tx, _: rows.keep_alive(tx, coming, expires))
        forgotten = 0
        while count := await self._desk.write(lambda tx, at: rows.expire(tx, at, PAGE)):
            forgotten += count
        now = self._desk.at()
        for upload_id in await self._desk.read(partial(claims.waiting, now=now, limit=AT_ONCE)):
            self._finishing.start(upload_id)
        return forgotten

    async def sweep(self) -> int:
        """Remove files that no row speaks of; gives how many."""
        return await sweeping.sweep(self._desk)

    def _round(self, work: Any) -> Deferred[None]:
        return self._background.run(ROUND + work.__name__, lambda: self._tried(work))

    async def _tried(self, work: Any) -> None:
        try:
            await work()
        except StorError as why:
            log.warn("uploads are cleaned up later: {why}", why=why)
        except Exception:  # noqa: BLE001 - one bad round must not be the last
            log.failure("uploads could not be cleaned up")

    def _piece(self, checksum: Checksum | None) -> Piece:
        return Piece(checksum, self._keeping.left, self._reactor.seconds)

    async def _finished(self, upload: Upload) -> Upload:
        return await self._finishing.finish(upload.id) if upload.is_whole else upload
