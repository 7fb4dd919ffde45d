import json

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from stor.blobs.api import listening
from stor.blobs.api.places import Places
from tests.blobs.serving import ACME, KEY, MD5, OnFolder, Serving, together
from tests.proxies import to_the_end


class Listening:
    """A reader of `/events`: chunks taken apart, events one by one."""

    async def listen(self, target="/events", key=KEY, **headers):
        raw = await self.connect()
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        raw.send("\r\n".join([f"GET {target} HTTP/1.1", "Host: here", f"X-API-Key: {key}", *lines, "", ""]).encode())
        await raw.until(b"\r\n\r\n")
        head, _, raw.heard = raw.heard.partition(b"\r\n\r\n")
        self.assertIn(b"200 OK", head)
        self.assertIn(b"text/event-stream", head)
        return raw

    async def event(self, raw):
        """Give the next event as its fields, `data` decoded; None for a sign of life."""
        while True:
            await raw.until(b"\n\n\r\n")
            piece, _, raw.heard = raw.heard.partition(b"\n\n\r\n")
            text = piece.partition(b"\r\n")[2].decode()
            fields = dict(line.split(": ", 1) for line in text.splitlines())
            if "" in fields:
                return None
            if "event" in fields:
                return fields | {"data": json.loads(fields["data"])}


class Events(Listening):
    """Server-Sent Events."""

    async def test_from_now(self):
        """The first event says where we are; then each change with its cursor, whoever made it."""
        await self.put("/blob/before")
        raw = await self.listen()
        here = await self.event(raw)
        self.assertEqual((here["event"], here["id"]), ("cursor", here["data"]["cursor"]))
        written = await self.put("/blob/a")
        change = await self.event(raw)
        self.assertEqual((change["event"], change["id"]), ("changes", change["data"]["cursor"]))
        entry = change["data"]["files"]["a"]
        self.assertEqual((entry["md5"], entry["version"], entry["is_deleted"]), (MD5[b"hello"], written.version, False))
        self.assertEqual((list(change["data"]["files"]), change["data"]["reset"]), (["a"], False))
        await self.delete("/blob/a")
        self.assertTrue((await self.event(raw))["data"]["files"]["a"]["is_deleted"])

    async def test_resumes(self):
        """From a cursor nothing is missed, by ?since= or Last-Event-ID, which counts more."""
        first = await self.event(await self.listen())
        await self.put("/blob/a")
        second = await self.event(await self.listen(f"/events?since={first['id']}"))
        self.assertEqual(list(second["data"]["files"]), ["a"])
        await self.put("/blob/b")
        raw = await self.listen(f"/events?since={first['id']}", Last_Event_ID=second["id"])
        self.assertEqual(list((await self.event(raw))["data"]["files"]), ["b"])

    async def test_namespace(self):
        """Only what is below it, by paths relative to it."""
        raw = await self.listen("/events?namespace=ns")
        await self.event(raw)
        await self.put("/blob/elsewhere")
        await self.put("/ns/blob/a", If_Match_Version="0")
        self.assertEqual(list((await self.event(raw))["data"]["files"]), ["a"])

    async def test_reset(self):
        """A cursor of another tree gives everything, in pieces of which only the last has a cursor."""
        self.patch(listening, "PIECE", 3)
        await together(self.put(f"/blob/{number}") for number in range(7))
        raw = await self.listen("/events?since=other-5")
        found = [await self.event(raw) for _ in range(3)]
        self.assertEqual([len(each["data"]["files"]) for each in found], [3, 3, 1])
        self.assertEqual([each["data"]["reset"] for each in found], [True, False, False])
        self.assertEqual(["id" in each for each in found], [False, False, True])
        self.assertEqual({path for each in found for path in each["data"]["files"]}, {str(n) for n in range(7)})


class OnFolderTests(Events, OnFolder, Serving):
    pass


class BoundTests(Listening, OnFolder, Serving):
    """Streams are bounded in number, time and patience."""

    async def test_refusals(self):
        """What can be no stream is refused before it begins; HEAD shows the headers alone."""
        for target in "/events?since=x", "/events?since=", "/events?namespace=a%2F%2Fb":
            self.assertEqual((await self.get(target)).code, 400, target)
        self.assertEqual((await self.get("/events", key=None)).code, 401)
        head = await self.ask("HEAD", "/events")
        self.assertEqual((head.code, head.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(self.listening(), 0)

    async def test_number(self):
        """Beyond the limit 503 with a time to come again; who leaves makes room."""
        raws = [await self.listen() for _ in range(self.listeners)]
        full = await self.get("/events")
        self.assertEqual((full.code, full.headers["retry-after"]), (503, "5"))
        raws[0].transport.abortConnection()
        await self.until(lambda: self.listening() == self.listeners - 1)
        await self.listen()

    async def test_number_of_one(self):
        """One principal has only so many places, which takes none from the others."""
        self.patch(self.api._events, "_places", Places("listeners", 4, 2, 5.0))
        raws = [await self.listen() for _ in range(2)]
        full = await self.get("/events", X_Tenant="another")
        self.assertEqual((full.code, full.headers["retry-after"]), (429, "5"))
        await self.listen(key=ACME)
        raws[0].transport.abortConnection()
        await self.until(lambda: len(self.api._events) == 2)
        await self.listen()

    async def test_life(self):
        """A sign of life while nothing happens, and what happens then is not lost."""
        self.patch(listening, "HEARTBEAT_SECONDS", 0.1)
        raw = await self.listen()
        await self.event(raw)
        self.assertEqual([await self.event(raw) for _ in range(3)], [None] * 3)
        await self.put("/blob/a")
        while (change := await self.event(raw)) is None:
            pass
        self.assertEqual(list(change["data"]["files"]), ["a"])

    async def test_time(self):
        """A stream ends after its time, says so, and gives its place back."""
        self.patch(listening, "MOST_SECONDS", 0.2)
        raw = await self.listen()
        await self.event(raw)
        end = await self.event(raw)
        self.assertEqual((end["event"], end["data"]["reason"]), ("end", "time"))
        await raw.until(b"0\r\n\r\n")
        self.assertEqual(self.listening(), 0)

    async def test_slow(self):
        """Who takes nothing loses the place, and hears why when it reads on."""
        self.patch(listening, "STALL_SECONDS", 0.2)
        self.patch(listening, "PIECE", 20)
        await self.fill()
        with await self.stuck("GET /events?since=other-1 HTTP/1.1", "Connection: close") as client:
            await self.until(lambda: self.listening() == 1)
            await self.until(lambda: self.listening() == 0)
            heard = await deferToThread(to_the_end, client)
        self.assertTrue(heard.endswith(b'data: {"event":"end","reason":"slow"}\n\n\r\n0\r\n\r\n'), heard[-200:])

    async def test_shutdown(self):
        """When the server stops a stream says so at once, rather than being cut at the deadline."""
        raw = await self.listen()
        await self.event(raw)
        stopping = Deferred.fromCoroutine(self.end(self.web))
        self.assertEqual((await self.event(raw))["data"]["reason"], "shutdown")
        await stopping

    async def test_tenant_tree_stays(self):
        """A tree that is listened to is in use."""
        raw = await self.listen("/events", X_Tenant="acme")
        await self.event(raw)
        await self.put("/blob/a", X_Tenant="acme")
        self.assertEqual(list((await self.event(raw))["data"]["files"]), ["a"])
