"""S3 servers for tests beside `weed mini`: moto's, and a proxy before any of them that misbehaves on demand."""

import asyncio
import atexit
import socket
import ssl
import struct
import threading
import urllib.request
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self

from stor.storage.s3 import BucketSettings
from tests.programs import program
from tests.servers import Server

CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>Try again.</Message></Error>"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def settings(server: Server, **more) -> BucketSettings:
    """Say how to reach a server's bucket."""
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    return BucketSettings(**{"bucket": server.bucket, "endpoint": server.endpoint, **keys, **more})


def chunked(body: bytes, etag: str, more: bytes = b"", status: int = 200) -> bytes:
    """Give an answer that does not say how long it is; `more` are lines of its header."""
    head = b"HTTP/1.1 %d So\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" % status
    head += b'ETag: "%s"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n' % etag.encode()
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    return head + more + b"\r\n" + chunk + b"0\r\n\r\n"


class MotoServer(Server):
    """moto's model of S3. It ignores If-Match of copies and at the end of uploads in parts."""

    access_key = secret_key = "any"
    bucket = "stor-test"

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> Sequence[str]:
        """Loopback only."""
        return [program("moto_server"), "-H", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        """The bucket can be made; moto checks no signature."""
        request = urllib.request.Request(f"{self.endpoint}/{self.bucket}", method="PUT")  # noqa: S310 - our own
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return True
        return False


@cache
def shared_moto() -> MotoServer:
    """Start one for all tests; each uses keys of its own."""
    server = MotoServer()
    atexit.register(server.close)
    return server.start()


class FaultyProxy:
    """A TCP proxy on `port` to another; its attributes may be changed at any time, and hold for what comes then."""

    def __init__(self, port: int) -> None:
        self.canned: deque[bytes] = deque()  # the next requests get these answers instead
        self.lost_answers = 0  # so many of the next requests are passed on, and cut instead of answered
        self.cut_answer_after: int | None = None  # bytes from the server on a connection, then it is reset
        self.cut_request_after: int | None = None  # bytes to the server
        self.spoils: bytes | None = None  # where these come to the server, the first of them is another
        self.flows = threading.Event()  # while it is not set, answers are held back
        self.flows.set()
        self._clients: set[socket.socket] = set()
        self._target, self.port = port, 0
        self.open()

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._clients)

    def open(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def answer(self, status: int, body: bytes = b"", times: int = 1) -> None:
        """Answer the next requests so, and close."""
        head = f"HTTP/1.1 {status} So\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        self.canned.extend([head.encode() + body] * times)

    def close(self) -> None:
        """Refuse from now on, and cut what is open."""
        _end(self._listener)
        self._listener.close()
        for client in list(self._clients):
            _end(client)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._clients.add(client)
        server = socket.create_connection(("127.0.0.1", self._target))
        down = threading.Thread(target=self._pump_down, args=(client, server), daemon=True)
        down.start()
        with suppress(OSError):
            self._pump_up(client, server)
        _end(server)
        down.join()
        self._clients.discard(client)
        _reset(client)
        server.close()

    def _pump_up(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        while data := client.recv(1 << 16):
            if self.canned:
                client.sendall(self.canned.popleft())
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass
                return
            if self.cut_request_after is not None and sent + len(data) > self.cut_request_after:
                server.sendall(data[: self.cut_request_after - sent])
                return
            if self.spoils is not None and (at := data.find(self.spoils)) >= 0:
                data = b"%s!%s" % (data[:at], data[at + 1 :])
            server.sendall(data)
            sent += len(data)

    def _pump_down(self, client: socket.socket, server: socket.socket) -> None:
        came = 0
        with suppress(OSError):
            while data := server.recv(1 << 16):
                self.flows.wait()
                if self.lost_answers:
                    self.lost_answers -= 1
                    break
                if self.cut_answer_after is not None and came + len(data) > self.cut_answer_after:
                    client.sendall(data[: self.cut_answer_after - came])
                    break
                client.sendall(data)
                came += len(data)
        _end(client)


class TlsProxy:
    """TLS before a server, by a certificate; used as a context manager."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self.port = 0
        self._target, self._loop = port, asyncio.new_event_loop()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(5)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)  # for what they aborted to be closed

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, requests = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(_pour(client, requests), _pour(server, answers))
        finally:
            answers.transport.abort()
            requests.transport.abort()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _reset(end: socket.socket) -> None:
    """Close with a RST, as a machine that died would make the next packet be answered."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
