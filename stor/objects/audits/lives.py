"""Rows of objects: each state has its slot and its blob, and an object is as its blob."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from stor.database.promise import Transaction
from stor.objects.audits.inquiry import Check, Inquiry
from stor.objects.records import State

_PAGE = 1000
# One statement sees one state, so what it shows is wrong is wrong, whoever writes meanwhile.
_OBJECTS = """SELECT page.id, page.key, page.slot, page.state, page.copy, page.blob, page.class, page.digest, page.size,
object_blob.class, object_blob.digest, object_blob.size
FROM (SELECT * FROM object WHERE id > ? ORDER BY id LIMIT ?) AS page
LEFT JOIN object_blob ON object_blob.id = page.blob ORDER BY page.id"""


@dataclass(frozen=True, slots=True)
class Life:
    """What a row says of an object, and what its blob's row says of the same things: None where there is none."""

    id: str
    key: str
    slot: str | None
    state: str
    copy: str | None
    blob: int | None
    storage_class: str
    digest: bytes | None
    size: int
    blob_class: str | None
    blob_digest: bytes | None
    blob_size: int | None


async def audit_lives(inquiry: Inquiry) -> None:
    """Look at every object; nothing here can be repaired without knowing what was meant."""
    after = ""
    while page := await inquiry.objects.database.read(partial(_page, after=after)):
        for life in page:
            for text in wrong(life):
                inquiry.note(Check.OBJECT, life.id, text)
        after = page[-1].id


def _page(tx: Transaction, after: str) -> list[Life]:
    return [Life(*row) for row in tx.execute(_OBJECTS, (after, _PAGE))]


def wrong(life: Life) -> Iterator[str]:
    """Say what is wrong with an object."""
    if life.state not in set(State):
        yield f"has the state {life.state!r}, which there is not"
        return
    state = State(life.state)
    if not _slot_is_right(state, life):
        yield f"is {state} and has the slot {life.slot!r}"
    if state in {State.COMMITTED, State.DELETING}:
        yield from _wrong_blob(state, life)
    elif life.blob is not None:
        yield f"is {state} and refers to the blob {life.blob}"
    if state is not State.WRITING and life.copy is not None:
        yield f"is {state} and has a copy of its own, {life.copy}"


def _slot_is_right(state: State, life: Life) -> bool:
    if state is State.WRITING:
        return life.slot == life.id or (life.slot == "" and life.key != "")
    if state is State.COMMITTED:
        return life.slot == ("" if life.key else life.id)
    return life.slot is None


def _wrong_blob(state: State, life: Life) -> Iterator[str]:
    if life.blob_class is None:
        yield f"is {state} and its blob {life.blob} is not there: its bytes are lost"
    elif (life.blob_class, life.blob_digest, life.blob_size) != (life.storage_class, life.digest, life.size):
        yield f"is not as its blob {life.blob}: the class, the digest or the size is another"
