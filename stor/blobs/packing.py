"""Segments and snapshots as bytes: see docs/protocols/blob-index.md."""

from collections.abc import Iterator
from itertools import islice

import msgspec
import zstandard

from stor.blobs.records import Segment, State
from stor.blobs.rules import Entry
from stor.errors import Failed


class Damaged(Failed):
    """Bytes that are no segment or snapshot, or not a whole one."""


FORMAT = 1
MOST_BYTES = 1 << 30
"""Of a snapshot; a million entries are some 50 MB."""
_CHUNK = 1000  # entries in a line: a thread that packs lets go of the interpreter at least this often


class _Header(msgspec.Struct, frozen=True):
    log: str
    position: int
    count: int
    namespaces: list[str] = []
    purged_at: int = 0
    purged_version: int = 0
    horizon: int = 0
    format: int = FORMAT


_encode = msgspec.json.Encoder().encode
_segment = msgspec.json.Decoder(Segment)
_header = msgspec.json.Decoder(_Header)
_entries = msgspec.json.Decoder(list[Entry])


def pack_segment(segment: Segment) -> bytes:
    """Write a segment."""
    return _encode(segment)


def unpack_segment(data: bytes) -> Segment:
    """Read a segment; Damaged when it is none, Failed when it is newer than we are."""
    try:
        segment = _segment.decode(data)
    except msgspec.DecodeError as why:
        raise Damaged(f"a segment of the index cannot be read: {why}") from None
    _check(segment.format)
    return segment


def pack_snapshot(state: State) -> bytes:
    """Write a state; takes a while for many entries, so call it in a thread."""
    packer = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return b"".join(packer.compress(line) for line in _lines(state)) + packer.flush()


def unpack_snapshot(data: bytes) -> State:
    """Read a state, in a thread as well; Damaged when it is not whole, Failed when it is newer than we are."""
    try:
        frame = zstandard.ZstdDecompressor().decompressobj()
        first, *rest = frame.decompress(data).splitlines()
        header = _header.decode(first)
        _check(header.format)
        entries = [entry for line in rest for entry in _entries.decode(line)]
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError) as why:
        raise Damaged(f"a snapshot of the index cannot be read: {why}") from None
    if len(entries) != header.count or not frame.eof:  # at its end is the checksum
        raise Damaged("a snapshot of the index is not whole")
    return State(
        log=header.log,
        position=header.position,
        entries=entries,
        namespaces=frozenset(header.namespaces),
        purged_at=header.purged_at,
        purged_version=header.purged_version,
        horizon=header.horizon,
    )


def _lines(state: State) -> Iterator[bytes]:
    yield _encode(
        _Header(
            log=state.log,
            position=state.position,
            count=len(state.entries),
            namespaces=sorted(state.namespaces),
            purged_at=state.purged_at,
            purged_version=state.purged_version,
            horizon=state.horizon,
        )
    )
    entries = iter(state.entries)
    while chunk := list(islice(entries, _CHUNK)):
        yield b"\n" + _encode(chunk)


def _check(written: int) -> None:
    if written != FORMAT:
        raise Failed(f"the index was written by a newer version of stor (format {written})")
