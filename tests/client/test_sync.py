"""Two folders and a real stor: each row of the table, and what may go wrong on the way."""

import os
import shutil
from dataclasses import replace

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from stor.client import Act, Allowed, Choice, Refused, Remote, Silence, Wishes, planned, sync
from stor.client.plan import Base
from stor.errors import Conflict, Denied, Failed, Unavailable
from tests.client.machines import Machine, MachineCase
from tests.client.serving import TreeServer, files_in, md5_of
from tests.places import folder


class Then(Silence):
    """Does something when a plan has been made, or when the first bytes have moved; once."""

    def __init__(self, planned=None, moved=None):
        self.deeds = {"planned": planned, "moved": moved}

    def planned(self, steps):
        self.do("planned")

    def moved(self, size):
        self.do("moved")

    def do(self, when):
        deed, self.deeds[when] = self.deeds[when], None
        if deed is not None:
            deed()


class RoundTests(MachineCase):
    async def test_there_and_back(self):
        """What one makes, changes and deletes, the other has after a sync of each."""
        self.one.write("a", "one")
        self.one.write("b/ü %2F.md", "two")
        self.one.write("empty", "")
        self.assertEqual(self.counts(await self.one.sync()), (3, 0, 0, 0))
        self.assertEqual(self.counts(await self.two.sync()), (0, 3, 0, 0))
        self.assertEqual(self.two.files(), {"a": "one", "b/ü %2F.md": "two", "empty": ""})
        self.two.write("a", "changed")
        self.two.delete("b/ü %2F.md")
        self.assertEqual(self.counts(await self.two.sync()), (1, 0, 0, 1))
        self.assertEqual(self.counts(await self.one.sync()), (0, 1, 1, 0))
        self.assertEqual(self.one.files(), {"a": "changed", "empty": ""})
        self.assertFalse((self.one.root / "b").exists())

    async def test_in_step(self):
        """When nothing changed, nothing is done."""
        await self.agreed(a="one")
        for machine in (self.one, self.two):
            self.assertEqual((await machine.sync()).changed, 0)

    async def test_large(self):
        """A large file goes through whole, and with the type that its name says."""
        content = os.urandom(9_000_001)
        self.one.write("a.tar.gz", content)
        await self.one.sync()
        await self.two.sync()
        self.assertEqual(files_in(self.two.root), {"a.tar.gz": content})

    async def test_many(self):
        """So do many small ones."""
        files = {f"d{n % 7}/f{n}": f"{n}" for n in range(300)}
        for path, content in files.items():
            self.one.write(path, content)
        self.assertEqual((await self.one.sync()).uploaded, 300)
        self.assertEqual((await self.two.sync()).downloaded, 300)
        self.assertEqual(self.two.files(), files)

    async def test_first_meeting(self):
        """Two that have the same already agree without moving a byte."""
        await self.agreed(a="one", b="two")
        shutil.rmtree(self.two.root / ".stor-sync")
        self.assertEqual((await self.two.sync()).changed, 0)
        self.two.delete("a")
        self.assertEqual(self.counts(await self.two.sync()), (0, 0, 0, 1))

    async def test_revived(self):
        """A name that was deleted may be used again."""
        await self.agreed(a="one")
        self.one.delete("a")
        await self.one.sync()
        self.one.write("a", "again")
        await self.one.sync()
        await self.two.sync()
        self.assertEqual((self.two.files(), self.there()), ({"a": "again"}, {"a": "again"}))

    async def test_file_becomes_folder(self):
        """A file may make room for a folder of its name, and the other way round."""
        await self.agreed(a="one")
        self.one.delete("a")
        self.one.write("a/b", "two")
        await self.one.sync()
        self.assertEqual(self.counts(await self.two.sync()), (0, 1, 1, 0))
        self.assertEqual(self.two.files(), {"a/b": "two"})
        shutil.rmtree(self.one.root / "a")
        self.one.write("a", "three")
        await self.one.sync()
        await self.two.sync()
        self.assertEqual(self.two.files(), {"a": "three"})

    async def test_ignored(self):
        """What is left alone is left alone on both sides."""
        self.one.write("a.tmp", "one")
        self.direct.put("b.tmp", b"two")
        self.assertEqual((await self.one.sync(ignore=["*.tmp"])).changed, 0)
        self.assertEqual((self.one.files(), self.there()), ({"a.tmp": "one"}, {"b.tmp": "two"}))

    async def test_dry_run(self):
        """A plan is told, and nothing is written, here or there."""
        self.direct.put("a", b"one")
        self.one.write("b", "two")
        before = sorted(self.one.root.rglob("*"))
        steps, _ = await planned(self.one.root, self.one.remote, reactor)
        self.assertEqual([(step.act, step.path) for step in steps], [(Act.DOWNLOAD, "a"), (Act.UPLOAD, "b")])
        self.assertEqual(sorted(self.one.root.rglob("*")), before)
        self.assertEqual(self.there(), {"a": "one"})


class ConflictTests(MachineCase):
    async def both_edit(self, **wishes):
        await self.agreed(**{"a.md": "agreed"})
        self.one.write("a.md", "ours")
        os.utime(self.one.root / "a.md", (1768473000, 1768473000))
        self.two.write("a.md", "theirs")
        await self.two.sync()
        return await self.one.sync(**wishes)

    async def test_both(self):
        """Both contents are kept, the other one's under the name; and everybody has both."""
        outcome = await self.both_edit()
        [(path, copy)] = outcome.conflicts
        self.assertEqual(path, "a.md")
        self.assertRegex(copy, r"^a\.conflict-[A-Za-z0-9-]+-20260115-103000\.md$")
        both = {"a.md": "theirs", copy: "ours"}
        await self.two.sync()
        self.assertEqual((self.one.files(), self.two.files(), self.there()), (both, both, both))
        self.assertEqual((await self.one.sync()).conflicts, [])

    async def test_ours(self):
        """Or ours is."""
        outcome = await self.both_edit(choice=Choice.OURS)
        self.assertEqual((outcome.conflicts, self.one.files(), self.there()), ([], {"a.md": "ours"}, {"a.md": "ours"}))

    async def test_theirs(self):
        """Or theirs is."""
        outcome = await self.both_edit(choice=Choice.THEIRS)
        self.assertEqual(
            (outcome.conflicts, self.one.files(), self.there()), ([], {"a.md": "theirs"}, {"a.md": "theirs"})
        )

    async def test_both_made(self):
        """Two files of one name that nobody had agreed on are a conflict too."""
        self.one.write("a", "ours")
        self.direct.put("a", b"theirs")
        self.assertEqual(len((await self.one.sync()).conflicts), 1)
        self.assertEqual(sorted(self.there().values()), ["ours", "theirs"])

    async def test_edit_outlives_deletion(self):
        """On either side, and whatever is chosen."""
        for choice in Choice:
            await self.agreed(a="agreed", b="agreed")
            self.one.write("a", "edited")
            self.one.delete("b")
            self.two.delete("a")
            self.two.write("b", "edited")
            await self.two.sync(choice=choice)
            await self.one.sync(choice=choice)
            await self.two.sync(choice=choice)
            edited = {"a": "edited", "b": "edited"}
            self.assertEqual((self.one.files(), self.two.files(), self.there()), (edited, edited, edited))

    async def test_edited_meanwhile(self):
        """What is edited between the plan and the download of another version is kept."""
        await self.agreed(a="agreed")
        self.direct.put("a", b"theirs")

        await self.one.sync(Then(lambda: self.one.write("a", "edited")), choice=Choice.THEIRS)
        self.assertIn("edited", self.one.files().values())

    async def test_deleted_meanwhile(self):
        """What is edited between the plan and the deletion stays."""
        await self.agreed(a="agreed")
        self.direct.delete("a")

        await self.one.sync(Then(lambda: self.one.write("a", "edited")))
        self.assertEqual((self.one.files(), self.there()), ({"a": "edited"}, {"a": "edited"}))

    async def test_made_again_meanwhile(self):
        """What is made again between the plan and the deletion at the remote is an edit, and not deleted there."""
        await self.agreed(a="agreed")
        self.one.delete("a")
        outcome = await self.one.sync(Then(lambda: self.one.write("a", "again")))
        self.assertEqual((self.counts(outcome), self.there()), ((1, 0, 0, 0), {"a": "again"}))

    async def test_index_behind(self):
        """A tombstone in an index that lags behind deletes nothing: the file itself is asked."""
        await self.agreed(a="agreed")
        real, late = self.one.remote.index, [1]

        async def index():
            found = dict(await real())
            if late:
                late.pop()
                found["a"] = replace(found["a"], is_deleted=True)
            return found

        self.one.remote.index = index
        self.assertEqual((await self.one.sync()).changed, 0)
        self.assertEqual((self.one.files(), self.there()), ({"a": "agreed"}, {"a": "agreed"}))

    async def test_too_late(self):
        """Somebody who was faster at the remote is not overwritten."""
        await self.agreed(a="agreed")
        self.one.write("a", "ours")

        faster = Then(lambda: self.direct.put("a", b"theirs", md5_of(b"agreed")))
        self.assertEqual(len((await self.one.sync(faster)).conflicts), 1)
        self.assertEqual(sorted(self.there().values()), ["ours", "theirs"])


class SafetyTests(MachineCase):
    async def test_empty_remote(self):
        """A remote that came back empty deletes nothing; it is filled again when that is asked for."""
        files = {f"f{n}": f"{n}" for n in range(12)}
        with TreeServer() as server:
            machine = Machine(self, server.url, server.token, None)
            for path, content in files.items():
                machine.write(path, content)
            await machine.sync()
            server.stop()
            shutil.rmtree(server.data)
            server.start()
            for _ in range(2):
                with self.assertRaises(Refused):
                    await machine.sync()
            self.assertEqual(machine.files(), files)
            self.assertEqual((await machine.sync(allowed=Allowed(refill=True))).uploaded, 12)
            direct = server.direct()
            self.assertEqual(len(direct.files()), 12)
            direct.close()
            await machine.remote.close()

    async def test_emptied_folder(self):
        """A folder that came back empty does not empty the remote."""
        await self.agreed(**{f"f{n}": f"{n}" for n in range(12)})
        for n in range(12):
            self.two.delete(f"f{n}")
        with self.assertRaises(Refused):
            await self.two.sync()
        self.assertEqual(len(self.there()), 12)
        self.assertEqual((await self.two.sync(allowed=Allowed(mass_delete=True))).deleted_there, 12)
        with self.assertRaises(Refused):
            await self.one.sync()
        self.assertEqual(len(self.one.files()), 12)

    async def test_restored_backup(self):
        """A remote that went back to an older state does not take the newer one with it."""
        with TreeServer() as server:
            machine = Machine(self, server.url, server.token, None)
            machine.write("a", "old")
            machine.write("b", "kept")
            await machine.sync()
            server.stop()
            shutil.copytree(server.data, folder(self) / "backup", symlinks=True)
            backup = folder(self) / "data"
            shutil.copytree(server.data, backup, symlinks=True)
            server.start()
            machine.write("a", "new")
            machine.delete("b")
            await machine.sync()
            server.stop()
            shutil.rmtree(server.data)
            shutil.copytree(backup, server.data, symlinks=True)
            server.start()
            outcome = await machine.sync()
            self.assertEqual(len(outcome.conflicts), 1)
            self.assertEqual(sorted(machine.files().values()), ["kept", "new", "old"])
            await machine.remote.close()

    async def test_links(self):
        """Nothing is written through a symbolic link, and it is told why."""
        outside = folder(self)
        (self.one.root / "out").symlink_to(outside)
        (self.one.root / "idle").symlink_to(outside)
        self.direct.put("out/a", b"x")
        outcome = await self.one.sync()
        self.assertEqual(set(outcome.problems), {"out/a"})
        self.assertEqual(len(outcome.notes), 2)
        self.assertEqual(list(outside.iterdir()), [])

    async def test_link_in_place(self):
        """A file that became a symbolic link was not deleted, nor is it followed."""
        await self.agreed(a="one", b="two")
        (self.one.root / "a").unlink()
        (self.one.root / "a").symlink_to("/etc/passwd")
        outcome = await self.one.sync()
        self.assertEqual((set(outcome.problems), outcome.changed), ({"a"}, 0))
        self.assertEqual(self.there(), {"a": "one", "b": "two"})

    async def test_cannot_hold(self):
        """A file and a folder of one name cannot both be here: one is told, the rest is synced."""
        for path in ("a", "a/b", "c", "x" * 300):
            self.direct.put(path, b"x")
        outcome = await self.one.sync()
        self.assertEqual(len(outcome.problems), 2, outcome.problems)
        self.assertEqual(outcome.downloaded, 2)
        self.assertIn("c", self.one.files())
        self.assertEqual(len(self.there()), 4)

    async def test_look_alike(self):
        """Names that only normalization tells apart are synced, and told."""
        self.one.write("caf\u00e9", "one")
        self.one.write("cafe\u0301", "two")
        outcome = await self.one.sync()
        self.assertEqual((outcome.uploaded, len(outcome.notes)), (2, 1))

    async def test_one_at_a_time(self):
        """Two syncs of one folder do not run at once."""
        second = []
        self.one.write("a", "one")
        await self.one.sync(Then(lambda: second.append(Deferred.fromCoroutine(self.one.sync()))))
        with self.assertRaises(Conflict):
            await second[0]

    async def test_refused_credential(self):
        """A wrong credential is told, and not tried again and again."""
        self.one.remote = Remote(self.server.url, "wrong", reactor, namespace=self.namespace)
        self.addCleanup(self.one.remote.close)
        with self.assertRaises(Denied):
            await self.one.sync()

    async def test_no_folder(self):
        """A folder that is not there is not an empty one."""
        with self.assertRaises(Failed):
            await sync(self.one.root / "no", self.one.remote, reactor)

    async def test_cancel(self):
        """A sync that is cancelled leaves nothing half done, and lets go of the folder."""
        self.direct.put("a", b"x" * 5_000_000)

        cancel = Then(moved=lambda: reactor.callLater(0, work.cancel))
        work = Deferred.fromCoroutine(self.one.sync(cancel))
        caught = []
        work.addErrback(lambda why: caught.append(why.type.__name__))
        while not caught:
            await deferLater(reactor, 0.01)
        self.assertEqual((caught, self.one.files()), (["CancelledError"], {}))
        self.assertEqual({path.name for path in (self.one.root / ".stor-sync/tmp").iterdir()} - {"now"}, set())
        self.assertEqual(self.counts(await self.one.sync()), (0, 1, 0, 0))


class Lossy(Factory):
    """Stands before a server, and cuts the line when a request with this beginning has been answered, so many times."""

    noisy = False

    def __init__(self, port, words, times):
        self.target, self.words, self.times, self.lines = port, words, times, []
        self.listening = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.listening.getHost().port}"

    def buildProtocol(self, address):
        return _Near(self)

    async def close(self):
        await self.listening.stopListening()
        for line in self.lines:
            line.transport.abortConnection()


class _Near(Protocol):
    def __init__(self, lossy):
        self.lossy, self.far, self.waiting = lossy, None, b""

    def connectionMade(self):
        self.lossy.lines.append(self)
        factory = Factory.forProtocol(_Far)
        factory.noisy = False
        far = _Far(self)
        factory.buildProtocol = lambda _: far
        connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self.lossy.target), far)

    def dataReceived(self, data):
        self.lose = data.startswith(self.lossy.words) and self.lossy.times > 0
        self.lossy.times -= self.lose
        if self.far is None:
            self.waiting += data
        else:
            self.far.transport.write(data)

    def connectionLost(self, reason):
        self.lossy.lines.remove(self)
        if self.far is not None:
            self.far.transport.loseConnection()


class _Far(Protocol):
    def __init__(self, near):
        self.near = near

    def connectionMade(self):
        self.near.far = self
        self.transport.write(self.near.waiting)

    def dataReceived(self, data):
        if self.near.lose:
            self.near.transport.abortConnection()
        else:
            self.near.transport.write(data)

    def connectionLost(self, reason):
        self.near.transport.loseConnection()


class LostAnswerTests(MachineCase):
    def lossy(self, words, times=1):
        lossy = Lossy(self.server.port, words, times)
        self.addCleanup(lossy.close)
        return self.machine(lossy.url)

    async def test_put(self):
        """A write whose answer was lost is found out to have been done: no conflict with ourselves."""
        machine = self.lossy(b"PUT")
        machine.write("a", "one")
        outcome = await machine.sync()
        self.assertEqual((outcome.conflicts, outcome.problems, machine.files()), ([], {}, {"a": "one"}))
        self.assertEqual(self.there(), {"a": "one"})
        self.assertEqual((await machine.sync()).changed, 0)

    async def test_update(self):
        """Nor when it was an update."""
        machine = self.lossy(b"PUT", 0)
        machine.write("a", "one")
        await machine.sync()
        machine.write("a", "two")
        machine.remote, cut = self.lossy(b"PUT").remote, machine.remote
        machine.remote.name = cut.name
        outcome = await machine.sync()
        self.assertEqual((outcome.conflicts, outcome.problems, self.there()), ([], {}, {"a": "two"}))

    async def test_delete(self):
        """A deletion whose answer was lost is done."""
        machine = self.lossy(b"DELETE")
        machine.write("a", "one")
        await machine.sync()
        machine.delete("a")
        outcome = await machine.sync()
        self.assertEqual((outcome.problems, self.there()), ({}, {}))

    async def test_away(self):
        """A remote that goes away in the middle is told, and what was done by then stands."""
        with TreeServer() as server:
            machine = Machine(self, server.url, server.token, None)
            machine.write("a", "one")
            machine.remote = Remote(server.url, server.token, reactor, patience=0.5)
            self.addCleanup(machine.remote.close)
            with self.assertRaises(Unavailable):
                await machine.sync(Then(server.kill))
            server.start()
            self.assertEqual((await machine.sync()).uploaded, 1)


class DeltaTests(MachineCase):
    async def test_changes(self):
        """After the first, only what changed is fetched; and it comes to the same."""
        await self.agreed(a="one", b="two")
        self.assertNotEqual(self.one.remote._cursor, "")
        self.direct.put("c", b"three")
        self.direct.delete("a")
        fresh = self.machine().remote
        self.assertEqual(dict(await self.one.remote.index()), dict(await fresh.index()))
        self.assertEqual(self.counts(await self.one.sync()), (0, 1, 1, 0))

    async def test_unknown_cursor(self):
        """A cursor that the server does not know any more is no matter."""
        await self.agreed(a="one")
        self.one.remote._cursor = "of another life"
        self.direct.put("b", b"two")
        self.assertEqual(self.counts(await self.one.sync()), (0, 1, 0, 0))

    async def test_versions(self):
        """What is agreed on has the remote's version."""
        await self.agreed(a="one")
        entry = self.direct.index()["a"]
        self.assertEqual(dict(await self.one.remote.index())["a"].version, entry["version"])
        self.assertEqual(Base("x").version, None)


class WishTests(MachineCase):
    async def test_default(self):
        """Nothing is allowed that was not asked for."""
        self.assertEqual((Wishes().choice, Wishes().allowed), (Choice.BOTH, Allowed(mass_delete=False, refill=False)))
