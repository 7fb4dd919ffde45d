"""Bodies kept compressed: made smaller on their way into the store, and plain again on their way out.

They are zstd frames one after the other, each of at most 1 MiB of plain bytes: nobody who reads them can be made to
hold more than that, however well they were compressed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import zstandard

from stor.blobs.stored import ZSTD
from stor.errors import Failed
from stor.streams import Body, Stream
from stor.streams.spool import Spool
from stor.threads import Threads

LEVEL = 3
SAMPLE = 64 * 1024
WORTH = 0.9
"""What does not become smaller than this part of itself stays as it is."""
FRAME = 1024 * 1024
_INLINE = 4 * 1024  # bytes that are not worth a thread


@dataclass(frozen=True, slots=True)
class Packed:
    """A body as it is put, and its encoding; None when it is plain."""

    body: bytes | Spool
    encoding: str | None


async def pack(body: bytes | Spool, spool: Callable[[int], Spool], threads: Threads) -> Packed:
    """Compress a body if that is worth it; the caller discards both, the one given and the one that comes back."""
    if isinstance(body, Spool) and body.data is not None:
        body = body.data
    if isinstance(body, bytes):
        small = _packed(body) if len(body) <= _INLINE else await threads.run(_packed, body)
        return Packed(small, ZSTD) if len(small) < WORTH * len(body) else Packed(body, None)
    if not await threads.run(_is_worth, body):
        return Packed(body, None)
    return Packed(await _respooled(body, spool(2 * body.size + FRAME), threads), ZSTD)


def unpacked(body: Body, start: int, stop: int, threads: Threads) -> Body:
    """Give bytes `start` to `stop` of what was compressed."""
    if not isinstance(body, bytes):
        return Unpacked(body, start, stop, threads)
    stream = Unpacked(_Whole(body), start, stop, threads)
    return stream.at_once(body) if stop <= SAMPLE else stream


class Unpacked:
    """A stream of the plain bytes from `start` to `stop` of a compressed one; raises Failed when that is damaged.

    A frame is given out only when it is whole and its checksum is right.
    """

    def __init__(self, packed: Stream, start: int, stop: int, threads: Threads) -> None:
        self.length: int | None = stop - start
        self._packed, self._threads = packed, threads
        self._skip, self._left = start, stop - start
        self._input, self._plain = b"", bytearray()
        self._frame = zstandard.ZstdDecompressor().decompressobj()

    async def read(self) -> bytes:
        """Give the next piece, at most 1 MiB."""
        while self._left:
            if not self._input:
                self._input = await self._packed.read()
                if not self._input:
                    raise Failed("a compressed file is not whole")
            kept = self._keep(await self._threads.run(self._inflate))
            if kept:
                return kept
        return b""

    def at_once(self, packed: bytes) -> bytes:
        """Give everything, when it is little and the compressed bytes are in memory."""
        self._input, pieces = packed, list[bytes]()
        while self._left and self._input:
            pieces.append(self._keep(self._inflate()))
        if self._left:
            raise Failed("a compressed file is not whole")
        return b"".join(pieces)

    def close(self) -> None:
        """Let go of the compressed stream."""
        self._packed.close()

    def _inflate(self) -> bytes:
        """Take the input up to the end of a frame, and give the frame; nothing when it goes on in the next piece."""
        try:
            self._plain += self._frame.decompress(self._input)
        except zstandard.ZstdError as why:
            raise Failed(f"a compressed file is damaged: {why}") from None
        if len(self._plain) > FRAME:
            raise Failed("a compressed file has a frame that is too large")
        self._input = self._frame.unused_data
        if not self._frame.eof:
            return b""
        plain, self._plain = bytes(self._plain), bytearray()
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        return plain

    def _keep(self, plain: bytes) -> bytes:
        kept = plain[self._skip : self._skip + self._left]
        self._skip -= min(self._skip, len(plain))
        self._left -= len(kept)
        return kept


class _Whole:
    """Bytes as a stream."""

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._pieces = BytesIO(data)

    async def read(self) -> bytes:
        return self._pieces.read(SAMPLE)

    def close(self) -> None:
        pass  # memory only


async def _respooled(body: Spool, target: Spool, threads: Threads) -> Spool:
    frames = _frames(body.read_chunks())
    try:
        while (frame := await threads.run(next, frames, b"")) != b"":
            if (room := target.write(frame)) is not None:
                await room
        await target.finish()
    except BaseException:
        target.discard()
        raise
    return target


def _frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zstandard.ZstdCompressor(LEVEL, write_checksum=True)
    for piece in pieces:
        for at in range(0, len(piece), FRAME):
            yield packer.compress(piece[at : at + FRAME])


def _packed(data: bytes) -> bytes:
    return b"".join(_frames([data]))


def _is_worth(body: Spool) -> bool:
    """Try the beginning."""
    sample = next(body.read_chunks(), b"")[:SAMPLE]
    return len(_packed(sample)) < WORTH * len(sample)
