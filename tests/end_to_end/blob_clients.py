"""Many HTTP clients of several processes at once, for loads that a thread for each request would not bear."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from tests.blobs.processes import BlobServer


@dataclass(frozen=True)
class Said:
    """An answer."""

    code: int
    headers: dict[str, str]
    body: bytes


class Clients:
    """As many connections as requests are under way; kept for the next request, by server."""

    def __init__(self) -> None:
        self._idle: dict[BlobServer, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in list(self._idle):
            await self.forget(server)

    async def ask(self, server: BlobServer, method: str, target: str, body: bytes = b"", **headers: str) -> Said | None:
        """Send a request; None when there is no answer: it may have been done or not."""
        try:
            idle = self._idle.setdefault(server, [])
            reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", server.port)
        except OSError:
            return None
        try:
            writer.write(_request(server, method, target, headers, body))
            said = await asyncio.wait_for(_answer(reader), 60)
        except (OSError, EOFError, TimeoutError):
            await _close(writer)
            return None
        if said.headers.get("connection") == "close":
            await _close(writer)
        else:
            self._idle.setdefault(server, []).append((reader, writer))
        return said

    async def forget(self, server: BlobServer) -> None:
        """Close the connections to a server that nobody asks now, or that was killed."""
        for _, writer in self._idle.pop(server, []):
            await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _request(server: BlobServer, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = {"Host": "stor", "Authorization": server.authorization, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> Said:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines if line)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Said(int(status.split(" ")[1]), headers, body)
