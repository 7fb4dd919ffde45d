"""Files and doomed rows: each file has a row, and what is doomed is wanted by nobody."""

from collections.abc import Sequence
from functools import partial

from stor.database.promise import Transaction
from stor.objects import copies
from stor.objects.audits.inquiry import Check, Inquiry
from stor.objects.ownership import owns
from stor.objects.records import StorageClass
from stor.objects.sweeper import strays, sweep_page

_PAGE = 1000
_DOOMED = "SELECT copy, class FROM object_doomed WHERE copy > ? ORDER BY copy LIMIT ?"
_SPARE = "DELETE FROM object_doomed WHERE copy = ?"


async def audit_strays(inquiry: Inquiry, storage_class: StorageClass) -> None:
    """List a store, and have files without a row collected."""
    if not await _is_ours(inquiry, storage_class):
        text = "belongs to another database: its files are left alone"
        inquiry.note(Check.STORE, storage_class.value, text)
        return
    objects = inquiry.objects
    async for page in objects.stores[storage_class].list(copies.FOLDER):
        keys = [each.key for each in page]
        found = await (sweep_page if inquiry.repair else strays)(objects, storage_class, keys)
        for copy in found:
            inquiry.note(Check.STRAY, f"{storage_class.value}:{copy}", "has no row", repaired=inquiry.repair)
        for key in keys:
            if copies.digest_in(key) is None:
                inquiry.note(Check.STRAY, f"{storage_class.value}:{key}", "is not ours by its name")


async def _is_ours(inquiry: Inquiry, storage_class: StorageClass) -> bool:
    return await owns(inquiry.objects.database, storage_class, inquiry.objects.stores[storage_class])


async def audit_doomed(inquiry: Inquiry) -> None:
    """Look at every doomed row; one whose copy a blob or an upload has is taken out."""
    after = ""
    while page := await inquiry.objects.database.read(partial(_page, after=after)):
        listed, wanted = page
        for copy, storage_class in listed:
            if copy in wanted:
                spared = inquiry.repair and await inquiry.objects.database.write(partial(_spare, copy=copy))
                inquiry.note(Check.DOOMED, copy, "is doomed, and something refers to it", repaired=spared)
            elif storage_class not in inquiry.objects.stores:
                inquiry.note(Check.DOOMED, copy, f"is in a store that is not configured: {storage_class}")
        after = listed[-1][0]


def _page(tx: Transaction, after: str) -> tuple[Sequence[tuple[str, str]], set[str]] | None:
    listed = [(str(copy), str(each)) for copy, each in tx.execute(_DOOMED, (after, _PAGE))]
    return (listed, copies.wanted(tx, [copy for copy, _ in listed])) if listed else None


def _spare(tx: Transaction, copy: str) -> bool:
    if copy not in copies.wanted(tx, [copy]):
        return False
    tx.execute(_SPARE, (copy,))
    return True
