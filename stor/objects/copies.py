"""Which rows speak of which stored copies; a copy's name holds its digest, and no two classes share a name."""

import re
from collections.abc import Iterator, Sequence

from stor.database.promise import Transaction

FOLDER = "sha256/"
"""What the names of all copies begin with."""
_NAME = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})\.[0-9a-f]{20}")
_AT_ONCE = 250
_MARKS = ", ".join("?" * _AT_ONCE)
_OF_BLOBS = f"SELECT copy FROM object_blob WHERE digest IN ({_MARKS}) AND copy IS NOT NULL"
_OF_UPLOADS = f"SELECT copy FROM object WHERE state = 'WRITING' AND state <> 'COMMITTED' AND copy IN ({_MARKS})"
_OF_DOOMED = f"SELECT copy FROM object_doomed WHERE copy IN ({_MARKS})"


def digest_in(copy: str) -> str | None:
    """Give the digest in a copy's name; None for a name that we never gave."""
    found = _NAME.fullmatch(copy)
    return None if found is None else found[2]


def wanted(tx: Transaction, copies: Sequence[str]) -> set[str]:
    """Give those of these copies that a blob or an upload has, in whatever class."""
    found: set[str] = set()
    for some in _slices(copies):
        digests = [bytes.fromhex(digest) for copy in some if (digest := digest_in(copy)) is not None]
        for sql, values in ((_OF_BLOBS, digests), (_OF_UPLOADS, some)):
            if values:
                found.update(copy for (copy,) in tx.execute(sql, _filled(values)))
    return found & set(copies)


def strays(tx: Transaction, copies: Sequence[str]) -> list[str]:
    """Give those of these copies that no row speaks of.

    The transaction must have begun after the copies were seen in their store. Then such a copy is nobody's for ever: a
    name is written down by its upload before anything is put under it, goes from one row to the other inside a
    transaction, is used only once, and one transaction has looked for it in all rows where it could be.
    """
    ours = [copy for copy in copies if digest_in(copy) is not None]
    known = wanted(tx, ours)
    for some in _slices(ours):
        known.update(copy for (copy,) in tx.execute(_OF_DOOMED, _filled(some)))
    return [copy for copy in ours if copy not in known]


def _slices(copies: Sequence[str]) -> Iterator[Sequence[str]]:
    return (copies[at : at + _AT_ONCE] for at in range(0, len(copies), _AT_ONCE))


def _filled(values: Sequence[object]) -> list[object]:
    """Repeat the last, so that there is one statement for all lengths."""
    return [*values, *[values[-1]] * (_AT_ONCE - len(values))]
