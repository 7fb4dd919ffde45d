"""Bytes that go out: whole when small, else a stream that is read at the pace of its reader."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Stream(Protocol):
    """A body that is not in memory; `length` in bytes, None when unknown. It is closed in any case, once."""

    length: int | None

    async def read(self) -> bytes:
        """Give the next piece (at most 1 MiB), b"" at the end; raises when the bytes cannot be had or are wrong."""

    def close(self) -> None:
        """Let go of what is behind it; never waits."""


@runtime_checkable
class FileStream(Stream, Protocol):
    """A stream that is a part of a regular file, which the web room may send by sendfile(2)."""

    fd: int
    start: int
    stop: int


Body = bytes | Stream


async def whole(body: Body, most: int) -> bytes:
    """Read a body into memory, at most `most` bytes; ValueError beyond, and it is closed in any case."""
    if isinstance(body, bytes):
        return body
    pieces, size = [], 0
    try:
        while piece := await body.read():
            size += len(piece)
            if size > most:
                raise ValueError(f"more than {most} bytes")
            pieces.append(piece)
    finally:
        body.close()
    return b"".join(pieces)
