import pytest
from twisted.internet import reactor

from stor.errors import Unavailable
from stor.storage.s3 import Bucket
from stor.web.health import Health
from tests.blobs.serving import Serving, digest, together
from tests.places import folder
from tests.s3 import SLOW_DOWN, FaultyProxy, settings

LARGE = bytes(range(256)) * 4096 * 3  # more than one part or read


class FaultTests(Serving):
    """A store that is not well: what needs it hears so soon, nothing is half-written, everything else goes on."""

    timeout = 60

    @pytest.fixture(autouse=True)
    def _lend(self, s3_server):
        self.s3 = s3_server

    def store(self):
        self.proxy = FaultyProxy(self.s3.port)
        self.addCleanup(self.proxy.close)
        reached = settings(
            self.s3, endpoint=f"http://127.0.0.1:{self.proxy.port}", connect_seconds=0.5, read_seconds=1.0
        )
        return Bucket(reached, folder(self) / "tmp", reactor)

    def parts(self):
        health = Health("1.2.3", reactor)
        health.add_probe("storage", self.kept.check)
        return [*super().parts(), health]

    async def health(self):
        """Give the answer of /health and the seconds that it took."""
        began = reactor.seconds()
        heard = await self.ask("GET", "/health", key=None)
        return heard, reactor.seconds() - began

    def assert_away(self, heard):
        self.assertEqual((heard.code, set(heard.json)), (503, {"detail", "error_code", "context"}), heard.body)
        self.assertGreaterEqual(int(heard.headers["retry-after"]), 1)

    async def test_hangs(self):
        """What needs it ends in 503, /health within a second, what does not need it goes on; then all is well again."""
        await self.put("/blob/a")
        heard, _ = await self.health()
        self.assertEqual((heard.code, heard.json["status"], heard.json["storage"]), (200, "ok", "connected"))
        self.s3.pause()
        try:
            questions = self.get("/blob/a"), self.put("/blob/b", Content_MD5="new"), self.get("/sync")
            asked = together(questions)
            began = reactor.seconds()
            self.assertEqual((await self.ask("GET", "/livez", key=None)).code, 200)
            self.assertEqual((await self.get("/blob/a", key=None)).code, 401)
            self.assertLess(reactor.seconds() - began, 0.5)
            await self.wait(1.1)  # a health that was well is believed for a second
            heard, seconds = await self.health()
            self.assertEqual((heard.code, heard.json["storage"]), (503, "disconnected"))
            self.assertLess(seconds, 1.0)
            for each in await asked:
                self.assert_away(each)
        finally:
            self.s3.resume()
        await self.recovered()

    async def test_refuses(self):
        """Nobody listens there: 503 for what needs it, before long."""
        await self.put("/blob/a")
        self.proxy.close()
        self.proxy.cut_answer_after = self.proxy.cut_request_after = 0  # what is connected already, too
        for heard in await together([self.get("/blob/a"), self.put("/blob/b"), self.delete("/blob/a")]):
            self.assert_away(heard)

    async def test_errors(self):
        """500, 503 and SlowDown pass; when they do not, the client hears 503, and the file is as it was."""
        await self.put("/blob/a")
        for status, body in (500, b""), (503, SLOW_DOWN), (503, b""):
            self.proxy.answer(status, body)
            self.assertEqual((await self.get("/blob/a")).body, b"hello")
        self.proxy.answer(503, SLOW_DOWN, times=50)
        self.assert_away(await self.put("/blob/a", b"lost"))
        self.proxy.canned.clear()
        self.assertEqual((await self.get("/blob/a")).body, b"hello")

    async def test_lost_while_writing(self):
        """The connection breaks within a body: the file is the old or the new one, and the index says which."""
        await self.put("/blob/large", b"old")
        self.proxy.cut_request_after = 1 << 20
        self.assert_away(await self.put("/blob/large", LARGE))
        self.proxy.cut_request_after = None
        body = (await self.get("/blob/large")).body
        self.assertIn(body, (b"old", LARGE))
        entry = (await self.get("/sync")).json["files"]["large"]
        self.assertEqual((entry["md5"], entry["size"]), (digest(body), len(body)))

    async def test_lost_while_reading(self):
        """The connection breaks in the middle of an answer: it is whole all the same, or is seen to be cut."""
        await self.put("/blob/large", LARGE)
        self.proxy.cut_answer_after = 1 << 20
        raw = await self.connect()
        raw.send(
            f"GET /blob/large HTTP/1.1\r\nHost: here\r\nConnection: close\r\nX-API-Key: {self.key}\r\n\r\n".encode()
        )
        heard = await raw.over
        head, _, body = heard.partition(b"\r\n\r\n")
        if b" 200 " in head.partition(b"\r\n")[0]:
            self.assertIn(f"content-length: {len(LARGE)}".encode(), head.lower())
            self.assertEqual(LARGE[: len(body)], body)
            self.assertEqual(len(self.flushLoggedErrors(Unavailable)), len(body) < len(LARGE))
        else:
            self.assertIn(b" 503 ", head)
        self.proxy.cut_answer_after = None
        self.assertEqual((await self.get("/blob/large")).body, LARGE)

    async def test_answers_lost(self):
        """A write whose answer is lost is not repeated blindly: what is acknowledged is there, and is there once."""
        for number in range(6):
            self.proxy.lost_answers = 1
            heard = await self.put(f"/blob/{number}", str(number).encode(), Content_MD5="new")
            self.proxy.lost_answers = 0
            self.assertIn(heard.code, (201, 503), heard.body)
            if heard.code == 201:
                self.assertEqual((await self.get(f"/blob/{number}")).body, str(number).encode())
            again = await self.put(f"/blob/{number}", str(number).encode(), Content_MD5="new")
            self.assertIn(again.code, (201, 412))
        self.assertEqual(await self.paths(), [str(number) for number in range(6)])

    async def recovered(self):
        """What was true is true, writing works, and a write that came through late is in the index before long."""
        self.assertEqual((await self.get("/blob/a")).body, b"hello")
        self.assertEqual((await self.put("/blob/c")).code, 201)
        while ("b" in await self.paths()) != ((await self.get("/blob/b")).code == 200):
            await self.wait(0.1)
