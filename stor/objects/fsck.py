"""fsck: the database against the bytes, both ways, while everything goes on."""

from collections.abc import Callable

from stor.objects.audits.copies import audit_doomed, audit_strays
from stor.objects.audits.inquiry import Check, Counts, Finding, Inquiry
from stor.objects.audits.lives import audit_lives
from stor.objects.audits.references import audit_references
from stor.objects.audits.stored import audit_digests, audit_sizes
from stor.objects.audits.usage import audit_usage
from stor.objects.core import Objects

__all__ = ["Check", "Counts", "Finding", "fsck"]


async def fsck(objects: Objects, repair: bool, deep: bool, report: Callable[[Finding], None]) -> Counts:
    """Look at all rows and all files, and `report` what is wrong as it is found; nothing is changed without `repair`.

    A finding is certain, whatever other processes do meanwhile: it was seen in one state of the database, or looked at
    again. With `repair` references and usage are put right, and files without a row go the way of all that is doomed.
    Bytes that are lost stay lost: they are marked as damaged, what there is of them stays where it is, and
    reported. With `deep` everything is hashed, not only looked for. Memory is bounded. Raises Unavailable and Full.
    """
    inquiry = Inquiry(objects, repair=repair, report=report)
    for audit in (audit_lives, audit_references, audit_usage, audit_doomed, audit_digests if deep else audit_sizes):
        await audit(inquiry)
    for storage_class in objects.stores:
        await audit_strays(inquiry, storage_class)
    return inquiry.counts
