"""A server of objects at its worst: away, overloaded, wrong, forgetful; and files that do not keep still."""

import contextlib
import json
import os
import shutil
from datetime import UTC, datetime
from hashlib import sha256
from threading import Thread

import msgspec
import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from stor.cli.ls import line
from stor.cli.telling import _line, words
from stor.client import patience
from stor.client.hands import Hands
from stor.client.objects.arriving import Part
from stor.client.objects.held import Made, Shown
from stor.client.objects.leaving import Silence
from stor.client.objects.many import every, objects_below, path_of, these
from stor.client.objects.names import Id, Name
from stor.client.objects.remote import RemoteObjects
from stor.client.objects.spots import spot
from stor.client.objects.transfer import Done, Transfers
from stor.client.objects.wish import Manner
from stor.client.reading import Changed
from stor.errors import BadRequest, Conflict, Failed, Missing, PreconditionFailed, Unavailable
from tests.client.scripted import Reply, Scripted, answer
from tests.places import folder

KEY = "swordfish-is-the-word"
ODD = (
    "ä ö/ü.txt",
    "100%.txt",
    "%41",
    "a+b&c=d;e#f?g",
    "-r",
    "quo'te\"s",
    "\u202eright",
    "a//b",
    "/c",
    "*?[a]\\",
    "..",
    ".",
)
NAME = Name("n", "t", "k")
BUSY = answer(503, b'{"error":{"code":"UNAVAILABLE","message":"busy","details":{}}}', retry_after=0)


def digest(content):
    return sha256(content).hexdigest()


def shown(content=b"hello", status=201, **changes):
    """Give the answer to a write."""
    now = datetime.now(UTC).isoformat()
    made = {
        "id": "01a1fedb-271e-79bc-8113-9e8f84e3dc1b",
        "namespace": "n",
        "tenant_id": "t",
        "key": "k",
        "content_hash": f"sha256:{digest(content)}",
        "size_bytes": len(content),
        "storage_class": "hot",
        "status": "COMMITTED",
        "content_type": "text/plain",
        "metadata": {},
        "created_at": now,
        "updated_at": now,
    }
    return answer(status, json.dumps(made | changes).encode())


def given(content=b"hello", status=200, **headers):
    """Give the answer to a read."""
    return answer(status, content, x_content_hash=f"sha256:{digest(content)}", x_object_id="i", **headers)


def refused(status, code):
    return answer(status, json.dumps({"error": {"code": code, "message": "no", "details": {}}}).encode())


class ObjectsCase(TestCase):
    timeout = 20

    def setUp(self):
        self.patch(patience, "FIRST_PAUSE", 0.01)
        self.root, self.told = folder(self), []
        self.hands = Hands(4, reactor)
        self.addCleanup(self.hands.rest)

    def at(self, url, key=KEY, seconds=10.0):
        store = RemoteObjects(url, key, reactor, patience=seconds, told=self.told.append)
        self.addCleanup(store.close)
        self.transfers = Transfers(store, self.hands)
        return store

    def serve(self, *replies, seconds=10.0):
        self.script = Scripted(*replies)
        self.addCleanup(self.script.close)
        return self.at(self.script.url, seconds=seconds)

    def write(self, name, content):
        file = self.root / name
        file.write_bytes(content)
        return file

    def begun(self, name, content, ref=NAME):
        """Leave what a get that broke off would leave."""
        place = spot(self.root / name)
        part = Part(place, str(ref))
        part.write(content)
        part.close()
        place.close()

    def pipe(self, content=b""):
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)

        def write():
            with os.fdopen(theirs, "wb") as file, contextlib.suppress(BrokenPipeError):
                file.write(content)

        Thread(target=write, daemon=True).start()
        return ours

    async def fails(self, kind, work):
        with self.assertRaises(kind) as caught:
            await work
        self.assertNotIn(KEY, str(caught.exception))
        return str(caught.exception)


class WriteTests(ObjectsCase):
    async def test_busy(self):
        """A server that is busy or has hung up is asked again, with the same bytes."""
        self.serve(BUSY, refused(429, "TOO_MANY_REQUESTS"), Reply(cut=True), shown())
        done = await self.transfers.put(self.write("k", b"hello"), NAME, Manner())
        self.assertEqual((done.status, done.made.object.id[:8]), ("stored", "01a1fedb"))
        self.assertEqual([asked.body for asked in self.script.asked], [b"hello"] * 4)
        self.assertEqual(len(self.told), 3)

    async def test_patience(self):
        """But not for ever."""
        self.serve(BUSY, seconds=0.1)
        await self.fails(Unavailable, self.transfers.put(self.write("k", b"hello"), NAME, Manner()))

    async def test_pipe_again(self):
        """A short pipe is sent again like a file; of a long one what was read would be missing."""
        self.serve(BUSY, Reply(cut=True), shown())
        await self.transfers.put_pipe(self.pipe(b"hello"), NAME, Manner())
        self.assertEqual([asked.body for asked in self.script.asked], [b"hello"] * 3)
        for reply in (Reply(cut=True, early=2 << 20), Reply(BUSY, early=2 << 20, cut=True)):
            self.serve(reply)
            work = self.transfers.put_pipe(self.pipe(bytes(8 << 20)), NAME, Manner())
            self.assertIn("cannot be read again", await self.fails(Failed, work))
            self.assertEqual(len(self.script.asked), 1)

    async def test_pipe_replaced(self):
        """Nor is the rest of a pipe stored where the first try met a conflict."""
        self.serve(answer(404), Reply(refused(409, "KEY_TAKEN"), early=2 << 20), given(b""))
        work = self.transfers.put_pipe(self.pipe(bytes(8 << 20)), NAME, Manner(replaces=True))
        self.assertIn("cannot be read again", await self.fails(Failed, work))
        self.assertEqual([asked.method for asked in self.script.asked], ["HEAD", "POST", "HEAD"])

    async def test_stored_otherwise(self):
        """Other bytes than were sent are not taken for stored."""
        self.serve(shown(b"hallo"))
        await self.fails(Failed, self.transfers.put(self.write("k", b"hello"), NAME, Manner()))

    async def test_not_ours(self):
        """An answer of something else is told, and is no object."""
        for reply in (answer(200, b"<html>"), answer(201, b"{}"), answer(302, location="http://elsewhere")):
            self.serve(reply)
            await self.fails(Failed, self.transfers.put(self.write("k", b"hello"), NAME, Manner()))

    async def test_lost_answer(self):
        """A condition that fails in the second try may have come true in the first: that is said."""
        self.serve(Reply(cut=True), refused(412, "PRECONDITION_FAILED"))
        work = self.transfers.put(self.write("k", b"hello"), NAME, Manner(absent=True))
        self.assertIn("perhaps because of an earlier try", await self.fails(PreconditionFailed, work))
        self.serve(refused(412, "PRECONDITION_FAILED"))
        work = self.transfers.put(self.write("k", b"hello"), NAME, Manner(absent=True))
        self.assertNotIn("perhaps", await self.fails(PreconditionFailed, work))

    async def test_replaced_by_others(self):
        """--replace knows what to say whether something is there or not, also when that changes."""
        self.serve(given(b""), refused(412, "PRECONDITION_FAILED"), answer(404), shown())
        await self.transfers.put(self.write("k", b"hello"), NAME, Manner(replaces=True))
        said = [asked.headers.get("if-match") for asked in self.script.asked if asked.method == "POST"]
        self.assertEqual(said, ["*", None])
        self.serve(answer(404), refused(409, "KEY_TAKEN"))
        await self.fails(Conflict, self.transfers.put(self.write("k", b"hello"), NAME, Manner(replaces=True)))

    async def test_not_held(self):
        """Bytes that went away between the question and the answer are sent."""
        self.serve(answer(200), refused(404, "CONTENT_NOT_FOUND"), shown())
        done = await self.transfers.put(self.write("k", b"hello"), NAME, Manner(skips=True))
        self.assertEqual(done.status, "stored")
        self.assertEqual([asked.body for asked in self.script.asked], [b"", b"", b"hello"])
        self.assertEqual(
            {asked.headers.get("x-content-hash") for asked in self.script.asked[1:]}, {f"sha256:{digest(b'hello')}"}
        )

    async def test_deleted_before(self):
        """A delete whose answer was lost is done: what is not there any more has been deleted."""
        store = self.serve(Reply(cut=True), answer(404))
        await store.delete(NAME)
        self.serve(answer(404))
        await self.fails(Missing, self.transfers.delete(NAME))


class ReadTests(ObjectsCase):
    async def test_pipe_broken(self):
        """A pipe goes on where it was, and what was written is not written again."""
        whole = given(b"hello world")
        rest = (
            given(b"hello world", 206, content_range="bytes 5-10/11").replace(b"11\r\n", b"6\r\n", 1)[:-11] + b" world"
        )
        self.serve(Reply(whole[:-6], cut=True), rest)
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        await self.transfers.get_pipe(NAME, theirs)
        self.assertEqual(os.read(ours, 100), b"hello world")
        again = self.script.asked[1].headers
        self.assertEqual((again["range"], again["if-range"]), ("bytes=5-", f'"sha256:{digest(b"hello world")}"'))

    async def test_pipe_replaced(self):
        """What was replaced meanwhile cannot be gone on with in a pipe."""
        self.serve(Reply(given(b"hello world")[:-6], cut=True), given(b"another"))
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        self.assertIn("replaced", await self.fails(Failed, self.transfers.get_pipe(NAME, theirs)))

    async def test_file_replaced(self):
        """In a file it begins anew."""
        self.serve(Reply(given(b"hello world")[:-6], cut=True), given(b"another"))
        done = await self.transfers.get(NAME, self.root / "k")
        self.assertEqual((done.status, (self.root / "k").read_bytes()), ("fetched", b"another"))

    async def test_wrong_range(self):
        """A part that is not the one that was asked for is no part of the file."""
        wrong = answer(206, b"world", content_range="bytes 6-10/11", x_content_hash=f"sha256:{digest(b'hello world')}")
        self.serve(answer(200, length=11, x_content_hash=f"sha256:{digest(b'hello world')}"), wrong)
        self.begun("k", b"hello")
        await self.fails(Failed, self.transfers.get(NAME, self.root / "k"))
        self.assertEqual([path.read_bytes() for path in self.root.glob("*/bytes")], [b"hello"])

    async def test_damaged(self):
        """Damage at the server is told at once, and nothing is left here."""
        self.serve(refused(500, "OBJECT_DAMAGED"))
        await self.fails(Failed, self.transfers.get(NAME, self.root / "k"))
        self.assertEqual((len(self.script.asked), [*self.root.iterdir()]), (1, []))

    async def test_not_ours(self):
        """A page of something else is no object."""
        for reply in (answer(200, b"<html>"), given(b"hello").replace(b"content-length: 5", b"x: y")):
            self.serve(Reply(reply, cut=True))
            await self.fails(Failed, self.transfers.get(NAME, self.root / "k"))
            self.assertEqual([*self.root.iterdir()], [])


class FileTests(ObjectsCase):
    async def test_changing(self):
        """A file that is written while it is sent is not sent to its end, so that nobody keeps what never was."""
        for change in (lambda file: file.write_bytes(b"y" * 300_000), lambda file: os.truncate(file, 5)):
            file = self.write("k", b"x" * 300_000)

            class Writing(Silence):
                def moved(self, size, file=file, change=change):
                    change(file)

            store = self.serve(shown())
            transfers = Transfers(store, self.hands, Writing())
            await self.fails(Changed, transfers.put(file, NAME, Manner()))
            self.assertFalse(any(asked.complete for asked in self.script.asked))

    async def test_gone(self):
        """A file that is not there is told by its name."""
        self.serve(shown())
        with self.assertRaises(FileNotFoundError):
            await self.transfers.put(self.root / "none", NAME, Manner())

    async def test_many(self):
        """What fails for one is told and the rest is done; what would fail for all ends it."""
        done, failed = [], []

        async def one(number):
            await deferLater(reactor, 0)
            if number == 3:
                raise Conflict("taken")
            if number == 20:
                raise Unavailable("away")
            done.append(number)

        await every(these(range(20)), one, lambda number, why: failed.append((number, str(why))))
        self.assertEqual((len(done), failed), (19, [(3, "taken")]))
        with self.assertRaises(Unavailable):
            await every(these(range(10, 1000)), one, lambda number, why: failed.append(number))
        self.assertLess(len(done), 100)


class RealTests(ObjectsCase):
    """Against a running stor."""

    @pytest.fixture(autouse=True)
    def _lend(self, tree_server):
        self.server = tree_server

    async def test_odd_names(self):
        """Whatever a key has in it, it is the key that was meant."""
        store = self.at(self.server.url, self.server.token)
        tenant = f"odd/%2F {self.id()}"[:128]
        for key in ODD:
            name = Name("tests", tenant, key)
            done = await self.transfers.put(self.write("f", key.encode()), name, Manner())
            self.assertEqual((done.made.object.key, done.made.object.tenant_id), (key, tenant))
            seen = await store.head(name)
            self.assertEqual((seen.digest, seen.id), (digest(key.encode()), done.made.object.id))
            self.assertEqual(await store.head(Id(seen.id)), seen)
        found = [shown.key async for page in objects_below(store, Name("tests", tenant)) for shown in page]
        self.assertEqual(sorted(found), sorted(ODD))
        for key in ODD:
            await store.delete(Name("tests", tenant, key))
        self.assertEqual([page async for page in objects_below(store, Name("tests", tenant))], [[]])

    async def test_pages(self):
        """Many pages are one list, each object once, in the order of the keys."""
        store = self.at(self.server.url, self.server.token)
        keys = [f"{n:02}" for n in range(25)]
        for key in keys:
            await self.transfers.put(self.write("f", key.encode()), Name("pages", "t", key), Manner())
        pages = [page async for page in store.pages(Name("pages", "t"), size=10)]
        self.assertEqual([shown.key for page in pages for shown in page.objects], keys)
        self.assertGreaterEqual(len(pages), 3)


class OthersTests(ObjectsCase):
    """What a get finds beside the file."""

    async def test_not_a_part(self):
        """A file of the user's, whatever it is called, is neither taken for a beginning nor removed."""
        self.serve(*[given(b"hello world") for _ in range(3)])
        self.write("k.part", b"mine")
        self.begun("k", b"of another", Id("another"))
        await self.transfers.get(NAME, self.root / "k")
        [other] = self.root.glob(".k.*")
        self.assertEqual([path.read_bytes() for path in sorted(self.root.glob("k*"))], [b"hello world", b"mine"])
        self.assertEqual((other / "bytes").read_bytes(), b"of another")
        (self.root / "k").unlink()
        self.begun("k", b"hello")
        [mine] = set(self.root.glob(".k.*")) - {other}
        (mine / "origin").write_text("mine")
        message = await self.fails(Conflict, self.transfers.get(NAME, self.root / "k"))
        self.assertIn(f"{mine} is none of ours", message)
        self.assertEqual(((mine / "bytes").read_bytes(), (mine / "origin").read_text()), (b"hello", "mine"))
        shutil.rmtree(mine)
        mine.write_bytes(b"mine")
        await self.fails(Conflict, self.transfers.get(NAME, self.root / "k"))
        self.assertEqual(mine.read_bytes(), b"mine")
        mine.unlink()
        mine.mkdir()
        await self.transfers.get(NAME, self.root / "k")
        self.assertFalse(mine.exists())

    async def test_links(self):
        """No symbolic link is followed from the folder that was named, which may be one itself, to the file."""
        self.serve(given(), given())
        outside = folder(self)
        (self.root / "real").mkdir()
        (self.root / "top").symlink_to(self.root / "real")
        (self.root / "real" / "a").mkdir()
        (self.root / "real" / "a" / "link").symlink_to(outside)
        for path in ("a/link/k", "a/link/b/k"):
            with self.assertRaises(NotADirectoryError):
                await self.transfers.get(NAME, self.root / "top" / path, self.root / "top")
        self.assertEqual(([*outside.iterdir()], self.script.asked), ([], []))
        await self.transfers.get(NAME, self.root / "top" / "a" / "b" / "k", self.root / "top")
        self.assertEqual((self.root / "real" / "a" / "b" / "k").read_bytes(), b"hello")

    def test_reserved(self):
        """No key becomes a part of another."""
        for key in (".k.01234567.stor-part", "a/.k.01234567.stor-part/bytes", "x.stor-part/origin"):
            self.assertRaises(BadRequest, path_of, key, self.root)
        self.assertEqual(path_of("a/x.stor-partly", self.root), self.root / "a" / "x.stor-partly")


class EscapeTests(ObjectsCase):
    def test_told(self):
        """Whatever a server says, people see one line of letters."""
        wild = "\x1b]0;x\x07\x9b2J\n"
        made = json.loads(shown(id=wild, updated_at=wild, storage_class=wild, key=None).partition(b"\r\n\r\n")[2])
        found = msgspec.convert(made, Shown)
        lines = [line(found), _line(Done("stored", NAME, Made(found, is_new=True))), words(Failed(wild))]
        for told in (*lines, _line(Done("deleted", Id(wild)))):
            self.assertTrue(told.isprintable(), ascii(told))
