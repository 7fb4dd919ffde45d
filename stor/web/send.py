"""A stream on its way out, at its reader's pace: by sendfile(2) from a file, else piece by piece."""

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, succeed

from stor.streams.stream import FileStream, Stream
from stor.web.sendfile import Push

if TYPE_CHECKING:
    from stor.web.channel import Channel

TURN_BYTES = 1 << 20  # before others have a turn


class Broken(Exception):
    """A stream gave more or less than it said."""


async def send(channel: "Channel", stream: Stream, *, in_chunks: bool) -> int:
    """Send it all, close it, and give the number of its bytes; raises when it cannot be sent as it was announced."""
    if isinstance(stream, FileStream) and (socket := channel.wire.bare()) is not None:
        return await _file(channel, Push(socket, stream, channel.site.reactor))
    try:
        return await _pieces(channel, stream, in_chunks=in_chunks)
    finally:
        stream.close()


async def _file(channel: "Channel", push: Push) -> int:
    """Push it; nothing is closed while a thread is at work with it, whoever has lost interest."""
    work: Deferred[bool] = succeed(False)
    try:
        while push.left:
            work = Deferred.fromCoroutine(channel.site.threads.run(push.push))
            if await _shielded(work):
                channel.wire.pauseProducing()
                await push.room()
                channel.wire.resumeProducing()
    except CancelledError:
        push.cut()
        raise
    finally:
        work.addBoth(push.close)
    return push.sent


def _shielded(work: Deferred[bool]) -> Deferred[bool]:
    """Wait for `work`; who stops waiting does not end it."""
    heard: Deferred[bool] = Deferred()
    work.addBoth(heard.callback)
    return heard


async def _pieces(channel: "Channel", stream: Stream, *, in_chunks: bool) -> int:
    wire, sent, turn = channel.wire, 0, 0
    while piece := await stream.read():
        sent += len(piece)
        if stream.length is not None and sent > stream.length:
            raise Broken(f"more than the {stream.length} bytes that were announced")
        if in_chunks:
            wire.write(b"%x\r\n" % len(piece), piece + b"\r\n")
        else:
            wire.write(piece)
        if wire.full:
            await wire.room()
            turn = sent
        elif sent - turn > TURN_BYTES:
            await channel.site.turn()
            turn = sent
    if in_chunks:
        wire.write(b"0\r\n\r\n")
    if stream.length is not None and sent != stream.length:
        raise Broken(f"{sent} bytes, but {stream.length} were announced")
    return sent
