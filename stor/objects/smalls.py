"""Small uploads of many clients in one transaction: a handful of statements for all of them, and one fsync."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from stor.database.promise import Transaction
from stor.errors import Unavailable
from stor.objects import rows
from stor.objects.commits import Moment, commit_small
from stor.objects.records import Created, Draft, Name, Object, State, StorageClass
from stor.objects.rows import Stored
from stor.objects.usage import count_usage

MOST = 64  # in one transaction, so that nobody waits long for the others
MOST_WAITING = 4096

T = TypeVar("T")
Write = Callable[[Callable[[Transaction, Moment], T]], Coroutine[Any, Any, T]]


@dataclass(frozen=True, slots=True)
class Small:
    """An upload whose bytes are at hand."""

    draft: Draft
    object_id: str
    stored: Stored

    def commit(self, tx: Transaction, at: Moment) -> Created:
        """Make the object, alone."""
        return commit_small(tx, at, self.draft, self.object_id, self.stored)


class SmallUploads:
    """What comes while one transaction runs is in the next; what cannot go with others goes alone."""

    def __init__(self, write: Write[list[Created | None]], commit: Write[Created]) -> None:
        """`write` runs a work in a transaction; `commit` does too, and again when others were faster."""
        self._write, self._commit = write, commit
        self._waiting: deque[tuple[Small, Deferred[Created]]] = deque()
        self._busy = False

    async def put(self, small: Small) -> Created:
        """Give what came of it once it is durable; who stops waiting does not end it."""
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable("too many uploads wait for the database", 1.0)
        done: Deferred[Created] = Deferred()
        self._waiting.append((small, done))
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._put_all())
        return await done

    async def _put_all(self) -> None:
        try:
            while self._waiting:
                await self._put_some([self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))])
        finally:
            self._busy = False

    async def _put_some(self, group: Sequence[tuple[Small, Deferred[Created]]]) -> None:
        smalls = [small for small, _ in group]
        try:
            made = await self._write(lambda tx, at: commit_together(tx, at, smalls))
        except Unavailable as why:  # nobody would fare better alone, and it is not known whether they are committed
            for _, done in group:
                if not done.called:
                    done.errback(why)
            return
        except Exception:  # noqa: BLE001 - whose fault it was is found out alone
            made = [None] * len(group)
        for created, (small, done) in zip(made, group, strict=True):
            if created is None:
                Deferred.fromCoroutine(self._commit(small.commit)).chainDeferred(done)
            elif not done.called:  # else who asked has left
                done.callback(created)


def commit_together(tx: Transaction, at: Moment, smalls: Sequence[Small]) -> list[Created | None]:
    """Make objects of those whose keys are free and wanted by no other of them; None for the rest."""
    chosen = _free(tx, at.kind, smalls)
    if not chosen:
        return [None] * len(smalls)
    blobs = _attach(tx, at, [small.stored for small in chosen])
    made = [_object(small, at.now) for small in chosen]
    rows.insert_many(tx, [(each, blobs[each.digest, each.storage_class]) for each in made])
    _count(tx, at, made)
    created = {each.id: Created(each, is_new=True) for each in made}
    return [created.get(small.object_id) for small in smalls]


def _free(tx: Transaction, kind: str, smalls: Sequence[Small]) -> list[Small]:
    first: dict[Name, Small] = {}
    for small in smalls:
        if small.draft.wish.match is None and small.draft.name.key:
            first.setdefault(small.draft.name, small)
    taken = rows.owned(tx, list(first), kind) if first else set()
    return [
        small
        for small in smalls
        if small.draft.wish.match is None
        and (not small.draft.name.key or (first[small.draft.name] is small and small.draft.name not in taken))
    ]


def _attach(tx: Transaction, at: Moment, uploads: Sequence[Stored]) -> dict[tuple[str, StorageClass], int]:
    """Count references; equal bytes once, and in one order for all, so that nobody waits for each other."""
    counts: dict[tuple[str, StorageClass], tuple[Stored, int]] = {}
    for stored in sorted(uploads, key=lambda stored: stored.digest):
        place = stored.digest, stored.storage_class
        counts[place] = stored, counts.get(place, (stored, 0))[1] + 1
    found: dict[tuple[str, StorageClass], int] = {}
    for blob_id, digest, storage_class, former in rows.attach_many(tx, list(counts.values()), at.now):
        place = digest.hex(), StorageClass(storage_class)
        found[place] = blob_id
        if former is not None:
            stored = counts[place][0]
            rows.replace_bytes(tx, blob_id, former, stored, at.now, at.due(stored.storage_class))
    return found


def _object(small: Small, now: int) -> Object:
    draft, stored = small.draft, small.stored
    return Object(
        small.object_id,
        draft.name,
        State.COMMITTED,
        draft.storage_class,
        stored.digest,
        stored.size,
        draft.content_type,
        draft.metadata,
        now,
        now,
    )


def _count(tx: Transaction, at: Moment, made: Sequence[Object]) -> None:
    sums: dict[tuple[str, str, StorageClass], tuple[Name, int, int]] = {}
    for each in made:
        place = each.name.tenant, each.name.namespace, each.storage_class
        _, size, objects = sums.get(place, (each.name, 0, 0))
        sums[place] = each.name, size + each.size, objects + 1
    for place, (name, size, objects) in sorted(sums.items(), key=lambda item: item[0]):
        count_usage(tx, at.kind, name, place[2], size, objects)
