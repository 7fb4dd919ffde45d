"""Pieces on their way in: where they go, what of a broken one is kept, and when one counts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twisted.logger import Logger

from stor.database.promise import Transaction
from stor.errors import Failed, Full, StorError, TooLarge
from stor.objects.commits import Moment
from stor.objects.ids import is_id, new_id
from stor.objects.receiving import Receiving
from stor.objects.resumable import claims, rows
from stor.objects.resumable.admission import admit, check_growth, hold_growth, used_up
from stor.objects.resumable.background import Background
from stor.objects.resumable.desk import Desk
from stor.objects.resumable.finishing import Finishing, finished
from stor.objects.resumable.piece import Piece
from stor.objects.resumable.pouring import pour_spool
from stor.objects.resumable.records import Part, Plan, State, Upload, Wanted
from stor.objects.resumable.rules import (
    OVERTAKEN,
    Mismatch,
    copy_name,
    is_final,
    overtaken,
    room,
    too_long,
    unknown,
)
from stor.objects.uploading import Also
from stor.streams.spool import Spool
from stor.threads import Threads

KEEP = "keep "
log = Logger()


class Keeping:
    """Takes pieces. Of several for one upload the latest counts, in whichever process it is.

    Of a piece whose connection broke is kept what had come, unless it was to have a checksum.
    """

    def __init__(self, desk: Desk, background: Background, finishing: Finishing, threads: Threads) -> None:
        self._desk, self._background, self._finishing, self._threads = desk, background, finishing, threads
        self._coming: dict[str, Piece] = {}  # by upload

    @property
    def coming(self) -> list[tuple[str, str]]:
        """The uploads to which pieces are on their way here, and what these will be called."""
        uploads = [piece.upload for piece in self._coming.values() if piece.upload is not None]
        return [(upload.id, upload.coming) for upload in uploads if upload.coming is not None]

    # ---- pieces that come

    def first(self, plan: Plan, announced: int | None, piece: Piece) -> Piece:
        """Have a piece be the beginning of an upload that is not made yet; TooLarge at once for too much."""
        most = self._desk.bounds[0]
        if (plan.length or 0) > most:
            raise TooLarge(f"an object has at most {most} bytes", code="TOO_LARGE", context={"limit": str(most)})
        limit = most if plan.length is None else plan.length
        if (announced or 0) > limit:
            raise too_long(limit)
        piece.plan = plan
        piece.open(self._admit(plan, announced, limit, piece))
        return piece

    def next(self, wanted: Wanted, piece: Piece) -> Piece:
        """Have a piece be the next of an upload."""
        piece.open(self._begin(wanted, piece))
        return piece

    def left(self, piece: Piece) -> None:
        """The connection of a piece is broken, or it failed."""
        upload = piece.upload
        if upload is None or upload.coming is None or piece.checksum is not None or piece.over or not piece.size:
            piece.drop(overtaken())
            self._forget(piece)
        else:
            self._background.start(work_name(piece), partial(self._save, upload, piece))

    async def settled(self, upload_id: str, tenant: str | None) -> None:
        """Wait until what broken connections brought is kept; one that is silent for seconds counts as broken.

        Missing, and nothing is touched, where the upload is not there for this tenant.
        """
        await self._desk.read(partial(rows.find, upload_id=upload_id, tenant=tenant, now=self._desk.at()))
        piece = self._coming.get(upload_id)
        if piece is not None and piece.is_stalled:
            piece.discard()
        await self._background.settled(f"{KEEP}{upload_id} ")

    def drop(self, upload_id: str) -> None:
        """The upload is gone."""
        piece = self._coming.pop(upload_id, None)
        if piece is not None:
            piece.stop(unknown(upload_id))

    async def _admit(self, plan: Plan, announced: int | None, limit: int, piece: Piece) -> tuple[None, Spool]:
        settings = self._desk.settings
        is_object = announced is not None and announced == plan.length and announced <= settings.direct_bytes
        if announced != 0 and not is_object:  # these are looked at when they are made
            most, here = settings.most, announced or 0
            left = await self._desk.commit(lambda tx, at: admit(tx, at, plan, most, here))
            limit = _bounded(piece, limit, left)
        return None, self._desk.spool(plan.draft, limit, piece.checksum)

    async def _begin(self, wanted: Wanted, piece: Piece) -> tuple[Upload, Spool]:
        if not is_id(wanted.upload_id):
            raise unknown(wanted.upload_id)
        await self.settled(wanted.upload_id, wanted.tenant)
        desk, copy, expires = self._desk, copy_name(wanted.upload_id, wanted.offset), self._desk.expires()
        upload, most = await desk.write(lambda tx, at: rows.begin(tx, at, wanted, copy, desk.bounds, expires))
        former = self._coming.get(upload.id)
        if former is not None:
            former.stop(overtaken())
        if not piece.over:
            self._coming[upload.id] = piece
        left = _bounded(piece, room(upload, wanted, *desk.bounds), most)
        length = upload.length if wanted.length is None else wanted.length
        return replace(upload, length=length), desk.spool(upload.draft, left, piece.checksum)

    # ---- pieces that are here

    async def create(self, piece: Piece) -> Upload:
        """Make an upload, with what came with it; when that is all, and not large, it is an object at once."""
        spool, desk, plan = piece.take(), self._desk, piece.plan
        if plan is None:
            raise TypeError("a piece is of an upload that is to be made")
        made = _planned(plan, desk.at(), desk.expires())
        try:
            if plan.length == spool.size <= desk.settings.direct_bytes:
                body = desk.objects.receive(made.draft, spool.size)
                return await self._directly(
                    made, spool, body, lambda tx, created: rows.insert(tx, finished(made, created))
                )
            if spool.size:
                made = replace(made, coming=copy_name(made.id, 0))
            most, here = desk.settings.most, spool.size
            await desk.commit(lambda tx, at: _insert(tx, at, plan, most, made, here))
            return await self._kept(made, spool) if spool.size else made
        finally:
            spool.discard()

    async def append(self, piece: Piece) -> Upload:
        """Count a piece; when it was all, and not large, it is an object at once."""
        try:
            spool, upload = piece.take(), piece.upload
        except Mismatch:
            self._forget(piece)
            raise  # what else it raises is of a piece that was dropped, or that `_save` has
        try:
            if upload is None:
                raise TypeError("a piece is of an upload that is there")
            if upload.coming is None:  # it had all its bytes
                return upload
            if upload.received == 0 and upload.length == spool.size <= self._desk.settings.direct_bytes:
                return await self._directly_or_kept(upload, spool)
            return await self._kept(upload, spool)
        finally:
            piece.drop(overtaken())
            self._forget(piece)

    async def _directly_or_kept(self, upload: Upload, spool: Spool) -> Upload:
        """What cannot be an object now, but perhaps later, is kept as a part, as if it were a large one."""
        desk, expires = self._desk, self._desk.expires()
        try:
            return await self._directly(
                upload,
                spool,
                desk.receive(upload, spool.size),
                lambda tx, created: claims.done(tx, desk.at(), upload, created, expires),
            )
        except StorError as why:
            await self._refused(upload, spool, why)
            raise

    async def _refused(self, upload: Upload, spool: Spool, why: StorError) -> None:
        try:
            if is_final(why):
                await self._desk.write(lambda tx, _: claims.fail(tx, upload, why))
            elif why.code != OVERTAKEN:
                await self._kept(upload, spool)
        except StorError as more:
            log.info("{id} was not kept: {why}", id=upload.id, why=more)

    async def _directly(self, upload: Upload, spool: Spool, body: Receiving, also: Also) -> Upload:
        try:
            await pour_spool(spool, body, self._threads)
            await body.finish()
        except BaseException:
            body.discard()
            raise
        return finished(upload, await self._desk.objects.create(body, also))  # whose the body is from here on

    async def _kept(self, upload: Upload, spool: Spool) -> Upload:
        """Put what came, and count it; if it was the last, the object is begun."""
        desk, part, size = self._desk, None, spool.size
        if size and upload.coming is not None:
            digest = spool.digests["sha256"]
            info = await desk.store(upload.draft).put(upload.coming, spool)
            if info.size != size:
                raise Failed("the store has kept another number of bytes than it was given")
            part = Part(upload.received, size, upload.coming, info.etag, digest)
        expires = desk.expires()
        kept = await desk.write(lambda tx, at: _advance(tx, at, upload, part, expires))
        if isinstance(kept, StorError):
            raise kept
        if kept.is_whole:
            self._finishing.start(kept.id)  # also when nobody waits for it any more
        return kept

    async def _save(self, upload: Upload, piece: Piece) -> None:
        try:
            if piece.spool is not None:
                await piece.spool.finish()
                await self._kept(upload, piece.spool)
        finally:
            piece.drop(overtaken())
            self._forget(piece)

    def _forget(self, piece: Piece) -> None:
        if piece.upload is not None and self._coming.get(piece.upload.id) is piece:
            del self._coming[piece.upload.id]


def work_name(piece: Piece) -> str:
    """Name the work on a piece: what is done for one upload begins alike."""
    return f"{KEEP}{'' if piece.upload is None else piece.upload.id} {id(piece)}"


def _bounded(piece: Piece, limit: int, left: int | None) -> int:
    """Give how many bytes a piece may have, where the quota has room for so many more (None: for all)."""
    if left is None or left >= limit:
        return limit
    piece.beyond = used_up(left)
    return left


def _insert(tx: Transaction, at: Moment, plan: Plan, most: int, made: Upload, here: int) -> None:
    admit(tx, at, plan, most, here)
    rows.insert(tx, made)


def _advance(tx: Transaction, at: Moment, upload: Upload, part: Part | None, expires: int) -> Upload | StorError:
    """Count a part, when there is room for one that nobody has announced; gives why not, and its copy is doomed."""
    try:
        if part is not None:
            hold_growth(tx, at, upload)
            check_growth(tx, upload, Wanted(upload.id, None, part.start, part.size))
    except (Full, TooLarge) as why:
        rows.lose(tx, at, upload)
        return why
    return rows.advance(tx, upload, part, upload.length, expires) or rows.lose(tx, at, upload)


def _planned(plan: Plan, now: int, expires: int) -> Upload:
    return Upload(
        new_id(),
        plan.draft,
        plan.said,
        State.OPEN,
        plan.length,
        received=0,
        parts=0,
        coming=None,
        object_id=None,
        digest=None,
        error=None,
        attempt=None,
        claimed_until=0,
        tries=0,
        damaged_at=None,
        created_at=now,
        expires_at=expires,
    )
