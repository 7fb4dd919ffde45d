"""Bytes: the copy of each blob is in its store with its size and, if that is asked for, with its digest."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from hashlib import sha256

from stor.database.promise import Transaction
from stor.errors import Failed, Full, Missing, PreconditionFailed, Unavailable
from stor.objects import rows
from stor.objects.audits.inquiry import Check, Inquiry
from stor.objects.core import Objects
from stor.objects.outage import unless_away
from stor.objects.records import Blob
from stor.objects.rows import BLOB, blob_of
from stor.objects.several import together

WIDTH = 16  # copies at once
_PAGE = 512
_FEW = 64  # rows with their bytes
# What is known to be damaged is told with the references.
_COPIES = f"""SELECT page.last, {BLOB}
FROM (SELECT id AS last FROM object_blob WHERE id > ? ORDER BY id LIMIT ?) AS page
LEFT JOIN object_blob ON object_blob.id = page.last AND object_blob.copy IS NOT NULL
AND object_blob.damage IS NULL ORDER BY page.last"""
_INLINE = f"SELECT {BLOB} FROM object_blob WHERE id > ? ORDER BY id LIMIT ?"
_NOT_THERE = "its copy is not in the store"

Look = Callable[[Objects, Blob], Awaitable[str | None]]
Page = tuple[int, list[Blob]]


async def audit_sizes(inquiry: Inquiry) -> None:
    """Ask the stores for each copy: is it there, and has it the right size?"""
    await _each(inquiry, _copies, _size)


async def audit_digests(inquiry: Inquiry) -> None:
    """Hash everything that is stored."""
    await _each(inquiry, _copies, _digest)
    await _each(inquiry, _inline, _digest)


async def _each(inquiry: Inquiry, pages: Callable[..., Page | None], look: Look) -> None:
    page: Page | None = (0, [])
    while page is not None:
        after, blobs = page
        waiting = iter(blobs)
        await together(_look_at_some(inquiry, waiting, look) for _ in range(WIDTH))
        page = await inquiry.objects.database.read(partial(pages, after=after))


async def _look_at_some(inquiry: Inquiry, waiting: Iterator[Blob], look: Look) -> None:
    for blob in waiting:
        wrong = await _looked_at(inquiry.objects, blob, look)
        if wrong is not None and await inquiry.objects.database.read(partial(_is_so_still, seen=blob)):
            await _judge(inquiry, blob, wrong)


async def _looked_at(objects: Objects, blob: Blob, look: Look) -> str | None:
    """Say what is wrong with a blob; that it cannot be read is one more thing that can be, unless its store is away."""
    try:
        return await look(objects, blob)
    except (Unavailable, Full) as why:
        await unless_away(objects, blob.storage_class, why)
        return f"it cannot be read: {why}"


async def _judge(inquiry: Inquiry, blob: Blob, wrong: str) -> None:
    """What is lost cannot be repaired here: it is marked, so that reads fail at once, and fresh bytes heal it."""
    text = wrong
    if inquiry.repair:
        try:
            if await inquiry.objects.verify(blob):
                return  # they have come just now
            text = f"{wrong}; marked as damaged"
        except (Unavailable, Full) as why:  # perhaps they can be read another time
            await unless_away(inquiry.objects, blob.storage_class, why)
    inquiry.note(Check.BYTES, f"sha256:{blob.digest} (blob {blob.id}, {blob.storage_class.value})", text)


def _is_so_still(tx: Transaction, seen: Blob) -> bool:
    """Whether the blob still has the bytes that were looked at: a copy that has been replaced may go at any time."""
    now = rows.blob(tx, seen.id)
    return now is not None and (now.digest, now.copy, now.data) == (seen.digest, seen.copy, seen.data)


async def _size(objects: Objects, blob: Blob) -> str | None:
    try:
        info = await objects.stores[blob.storage_class].head(blob.copy or "")
    except Missing:
        return _NOT_THERE
    except Failed as why:
        return f"its copy cannot be read: {why}"
    return None if info.size == blob.size else f"its copy has {info.size} bytes instead of {blob.size}"


async def _digest(objects: Objects, blob: Blob) -> str | None:
    try:
        digest = await objects.digest(blob)
    except Missing:
        return _NOT_THERE
    except Failed as why:
        return f"its copy cannot be read: {why}"
    except PreconditionFailed:
        return "its copy was changed while it was read"
    return None if digest == blob.digest else f"its bytes have the digest sha256:{digest}"


def _copies(tx: Transaction, after: int) -> Page | None:
    """Give the next blobs that have copies, and the id up to which they were looked for."""
    found = tx.execute(_COPIES, (after, _PAGE))
    return (found[-1][0], [blob_of(row[1:]) for row in found if row[1] is not None]) if found else None


def _inline(tx: Transaction, after: int) -> Page | None:
    """Give those of the next blobs whose bytes are in their rows, and wrong: hashed here, so that few leave."""
    found = [blob_of(row) for row in tx.execute(_INLINE, (after, _FEW))]
    wrong = [
        each
        for each in found
        if each.data is not None and not each.damage and sha256(each.data).hexdigest() != each.digest
    ]
    return (found[-1].id, wrong) if found else None
