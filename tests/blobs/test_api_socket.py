import json

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from stor.blobs.api import listening, socket
from tests.blobs.serving import KEY, MD5, OnFolder, Serving
from tests.proxies import to_the_end

ASKED = {
    "Host": "here",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "X-API-Key": KEY,
}


class SocketTests(OnFolder, Serving):
    """Events by WebSocket, on the path of the stream."""

    async def shake(self, target="/events", **headers):
        """Send an opening handshake; give the connection and what was answered."""
        raw = await self.connect()
        lines = {**ASKED, **{name.replace("_", "-"): value for name, value in headers.items()}}
        head = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items() if value), "", ""]
        raw.send("\r\n".join(head).encode())
        await raw.until(b"\r\n\r\n")
        answer, _, raw.heard = raw.heard.partition(b"\r\n\r\n")
        return raw, answer.decode()

    async def open(self, target="/events", **headers):
        raw, answer = await self.shake(target, **headers)
        self.assertTrue(answer.startswith("HTTP/1.1 101 Switching Protocols"), answer)
        raw.frames = Connection(ConnectionType.CLIENT)
        return raw

    async def event(self, raw):
        """Give the next frame, messages decoded."""
        while True:
            data, raw.heard = raw.heard, b""
            raw.frames.receive_data(data)
            raw.events = [*getattr(raw, "events", []), *raw.frames.events()]
            if raw.events:
                event = raw.events.pop(0)
                return json.loads(event.data) if isinstance(event, TextMessage) else event
            await raw.until_more()

    async def test_handshake(self):
        """The answer of RFC 6455, 1.3 to its own example."""
        _, answer = await self.shake()
        lines = answer.lower().split("\r\n")
        self.assertIn("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=", lines)
        self.assertIn("upgrade: websocket", lines)
        self.assertIn("connection: upgrade", lines)

    async def test_bytes(self):
        """The first frame is a whole, unmasked text message, byte by byte as RFC 6455, 5.2 has it."""
        raw, _ = await self.shake()
        await raw.until(b"}")
        text = raw.heard[2:]
        self.assertEqual(raw.heard[:2], bytes([0x81, len(text)]))
        self.assertEqual(json.loads(text)["event"], "cursor")

    async def test_events(self):
        """The same events as the stream's, from now or from a cursor."""
        raw = await self.open()
        here = await self.event(raw)
        await self.put("/blob/a")
        change = await self.event(raw)
        self.assertEqual((change["event"], change["files"]["a"]["md5"]), ("changes", MD5[b"hello"]))
        again = await self.open(f"/events?since={here['cursor']}&namespace=")
        self.assertEqual((await self.event(again)), change)

    async def test_refused(self):
        """No handshake, no credential, another page's origin: each is an ordinary answer."""
        for headers, code in (
            ({"Sec-WebSocket-Key": None}, 400),
            ({"Sec-WebSocket-Version": "8"}, 400),
            ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZQ=="}, 400),
            ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"}, 400),
            ({"Sec-WebSocket-Key": "*" * 24}, 400),
            ({"Sec-WebSocket-Key": "é" * 12}, 400),
            ({"X-API-Key": None}, 401),
            ({"Origin": "http://elsewhere"}, 403),
            ({"Origin": "null"}, 403),
        ):
            _, answer = await self.shake(**headers)
            self.assertIn(f"HTTP/1.1 {code} ", answer)
        _, answer = await self.shake(Origin="https://HERE")
        self.assertIn(" 101 ", answer)

    async def test_goodbye(self):
        """A close is answered by a close and the end; the place is free again."""
        raw = await self.open()
        await self.event(raw)
        raw.send(raw.frames.send(CloseConnection(1000, "enough")))
        self.assertEqual((await self.event(raw)).code, 1000)
        await raw.over
        self.assertEqual(self.listening(), 0)

    async def test_ping(self):
        """Pings are answered; what else a client says is ignored."""
        raw = await self.open()
        await self.event(raw)
        raw.send(raw.frames.send(TextMessage("hello")) + raw.frames.send(Ping(b"there?")))
        self.assertEqual(await self.event(raw), Pong(b"there?"))

    async def test_malformed(self):
        """A frame that is none ends it with 1002."""
        raw = await self.open()
        await self.event(raw)
        raw.send(b"\x8f\x80\0\0\0\0")
        self.assertEqual((await self.event(raw)).code, 1002)
        await raw.over

    async def test_life(self):
        """Pings keep the line; who answers none is gone."""
        self.patch(listening, "HEARTBEAT_SECONDS", 0.05)
        raw = await self.open()
        await self.event(raw)
        for _ in range(4):
            self.assertIsInstance(ping := await self.event(raw), Ping)
            raw.send(raw.frames.send(ping.response()))
        await raw.over
        self.assertEqual(self.listening(), 0)

    async def test_ends(self):
        """After its time it is closed with 1000, when the server stops with 1001, each with its word."""
        raw = await self.open()
        await self.event(raw)
        self.patch(listening, "MOST_SECONDS", 0.1)
        short = await self.open()
        await self.event(short)
        end = await self.event(short)
        self.assertEqual((end.code, end.reason), (1000, "time"))
        stopping = Deferred.fromCoroutine(self.end(self.web))
        end = await self.event(raw)
        self.assertEqual((end.code, end.reason), (1001, "shutdown"))
        raw.send(raw.frames.send(end.response()))
        await stopping

    async def test_slow(self):
        """Who takes nothing is closed, and cut when even that is not taken."""
        self.patch(listening, "STALL_SECONDS", 0.2)
        self.patch(listening, "PIECE", 20)
        self.patch(socket, "CLOSE_SECONDS", 0.2)
        await self.fill()
        lines = [f"{name}: {value}" for name, value in ASKED.items() if name not in {"Host", "X-API-Key"}]
        with await self.stuck("GET /events?since=other-1 HTTP/1.1", *lines) as client:
            await self.until(lambda: self.listening() == 1)
            await self.until(lambda: self.listening() == 0)
            await self.until(lambda: not any(channel.transport.connected for channel in self.site.channels))
            heard = await deferToThread(to_the_end, client)
        self.assertIn(b" 101 ", heard)
