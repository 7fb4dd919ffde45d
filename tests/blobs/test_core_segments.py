"""The log of segments and its snapshots, when something goes wrong."""

import json

from twisted.internet.defer import Deferred

from stor.blobs import compactor
from stor.blobs.compactor import Compactor, step
from stor.blobs.layout import Layout, number_of
from stor.blobs.packing import pack_snapshot, unpack_snapshot
from stor.blobs.records import Namespace, Purge, Put, State
from stor.blobs.replica import Replica
from stor.blobs.rules import Entry
from stor.blobs.waiting import together
from stor.errors import BadRequest, Failed, Full, Unavailable
from tests.blobs.core import CoreCase, Faulty, unavailable

LAYOUT = Layout("memory")
HOUR = 3600.0


def put(path, version, base=0):
    return Put(Entry(path=path, md5="m", size=1, modified=1, is_deleted=False, version=version, etag="e"), base)


def unanswered_then_away(store):
    """The next put is done and its answer is lost; the one after it does not reach the store."""

    def after(name, key):
        store.after, store.before = lambda *_: None, unavailable(1, "put")
        raise Unavailable("the answer is lost")

    return after


class SegmentCase(CoreCase):
    async def setUp(self):
        super().setUp()
        self.store = await self.directory()
        self.asleep = 0.0

    async def opened(self, store=None, **kwargs):
        replica, journal = Replica(self.threads), self.journal(store or self.store, **kwargs)
        await journal.open(replica)
        self.addCleanup(journal.close)
        return journal, replica

    def clock(self):
        return (self.asleep,)

    async def keys(self, prefix=LAYOUT.log):
        return [listed.key async for page in self.store.list(prefix) for listed in page]

    async def numbers(self, prefix=LAYOUT.log):
        return [number_of(key) for key in await self.keys(prefix)]

    async def shown(self):
        """What somebody shows who comes now."""
        return {each.path: each.version for each in (await self.opened())[1]}


class AppendTests(SegmentCase):
    async def test_on_the_wire(self):
        """A segment is what the page about it says."""
        journal, _ = await self.opened()
        await journal.append([put("a", 5), Namespace("n")])
        await journal.append([Purge("a", 5)])
        self.assertEqual(await self.keys(), [f"memory.stor/log/{1:012d}", f"memory.stor/log/{2:012d}"])
        found = json.loads((await self.store.get(LAYOUT.segment(1))).body)
        self.assertEqual(set(found), {"log", "writer", "records"})
        entry = {"path": "a", "md5": "m", "size": 1, "modified": 1, "is_deleted": False, "version": 5, "etag": "e"}
        self.assertEqual(found["records"][0], {"kind": "put", "base": 0, "entry": entry})
        self.assertEqual(found["records"][1], {"kind": "namespace", "name": "n"})
        second = json.loads((await self.store.get(LAYOUT.segment(2))).body)
        self.assertEqual(second["records"], [{"kind": "purge", "path": "a", "base": 5}])
        self.assertEqual(second["log"], found["log"])
        self.assertNotEqual(second["writer"], found["writer"])

    async def test_unanswered_but_there(self):
        """A claim whose answer was lost is found to be there, and is not made twice."""
        store = Faulty(self.store)
        journal, replica = await self.opened(store)
        store.after = unavailable(1, "put")
        self.assertEqual(await journal.append([put("a", 5)]), [True])
        self.assertEqual(await self.numbers(), [1])
        self.assertEqual(len(replica), 1)

    async def test_unanswered_and_not_there(self):
        """A claim that never arrived is made again."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)
        store.before = unavailable(1, "put")
        self.assertEqual(await journal.append([put("a", 5)]), [True])
        self.assertEqual(await self.numbers(), [1])

    async def test_unanswered_for_long(self):
        """A claim given up is settled before the next: it is there once, with the bytes that it had."""
        for there in (False, True):
            store = Faulty(self.store)
            journal, replica = await self.opened(store)
            store.before = unavailable(2, "put")
            if there:
                store.before, store.after = lambda *_: None, unanswered_then_away(store)
            with self.assertRaises(Unavailable):
                await journal.append([put(f"lost/{there}", 5)])
            self.assertEqual(await journal.append([put(f"next/{there}", 6)]), [True])
            self.assertEqual({each.path for each in replica}, set(await self.shown()))
            self.assertIn(f"lost/{there}", await self.shown())
            await journal.close()
        self.assertEqual(await self.numbers(), [1, 2, 3, 4])

    async def test_unanswered_and_somebody_else(self):
        """A claim given up whose number somebody else took meanwhile is forgotten: nobody was told it was there."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)
        store.before = unavailable(2, "put")
        with self.assertRaises(Unavailable):
            await journal.append([put("a", 5)])
        other, _ = await self.opened()
        await other.append([put("a", 6)])
        self.assertEqual(await journal.append([put("a", 7), put("b", 1)]), [False, True])
        self.assertEqual(await self.shown(), {"a": 6, "b": 1})

    async def test_full(self):
        """A disk that is full refuses the append, and the journal goes on when there is room."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)

        def full(name, key):
            store.before = lambda name, key: None
            raise Full("no room")

        store.before = full
        with self.assertRaises(Full):
            await journal.append([put("a", 5)])
        self.assertEqual(await journal.append([put("b", 5)]), [True])

    async def test_one_on_its_way(self):
        """However many append, there is one claim on its way, and few segments."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)
        await together(journal.append([put(f"f{n}", 1)]) for n in range(200))
        self.assertLessEqual(len(await self.numbers()), 3)

    async def test_races(self):
        """Journals that race for each number lose nothing, and leave no gap."""
        journals = [(await self.opened())[0] for _ in range(4)]

        async def write(journal, name):
            for n in range(15):
                self.assertEqual(await journal.append([put(f"{name}/{n}", 1)]), [True])

        await together(write(journal, name) for name, journal in enumerate(journals))
        numbers = await self.numbers()
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertEqual(len(await self.shown()), 60)

    async def test_far_behind(self):
        """Who is far behind reads on in few steps."""
        other, _ = await self.opened()
        journal, replica = await self.opened()
        for n in range(100):
            await other.append([put(f"f{n}", 1)])
        await journal.tail()
        self.assertEqual(len(replica), 100)

    async def test_append_from_far_behind(self):
        """Who appends while far behind loses one claim, and reads on in few steps before the next."""
        other, _ = await self.opened()
        store = Faulty(self.store)
        journal, replica = await self.opened(store)
        for n in range(120):
            await other.append([put(f"f{n}", 1)])
        store.calls.clear()
        self.assertEqual(await journal.append([put("mine", 1)]), [True])
        self.assertEqual([key for name, key in store.calls if name == "put"], [LAYOUT.segment(1), LAYOUT.segment(121)])
        self.assertEqual(len(replica), 121)

    async def test_asked_while_claiming(self):
        """Who asks while a claim is lost is shown all that was acknowledged before they asked."""
        other, _ = await self.opened()
        store, held = Faulty(self.store), Deferred()
        journal, replica = await self.opened(store)

        async def slow(*args, **kwargs):
            del store.get
            try:
                return await store.get(*args, **kwargs)
            finally:
                await held

        store.get = slow
        looking = Deferred.fromCoroutine(journal.tail())
        appending = Deferred.fromCoroutine(journal.append([put("a", 2)]))
        await other.append([put("a", 1)])
        await other.append([put("b", 1)])
        asking = Deferred.fromCoroutine(journal.tail())
        held.callback(None)
        await looking
        self.assertEqual(await appending, [False])
        await asking
        self.assertEqual({each.path for each in replica}, {"a", "b"})

    async def test_one_look_for_many(self):
        """Many who ask at once cost two looks: the one on its way, and one that begins after they came."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)
        store.calls.clear()
        await together(journal.tail() for _ in range(50))
        self.assertLessEqual(len(store.calls), 2)

    async def test_cost(self):
        """An append by the only writer is one call of the store, whatever is there already."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)
        await journal.append([put("a", 1), put("b", 1)])
        store.calls.clear()
        await journal.append([put("a", 2, 1)])
        self.assertEqual(store.calls, [("put", LAYOUT.segment(2))])

    async def test_unconditional(self):
        """Without conditional writes one process numbers its segments by itself."""
        store = Faulty(self.store)
        store.conditional = False
        journal, _ = await self.opened(store)
        store.after = unavailable(1, "put")
        await journal.append([put("a", 1)])
        await journal.append([put("a", 2, 1)])
        self.assertEqual(await self.numbers(), [1, 2])
        self.assertEqual(await self.shown(), {"a": 2})

    async def test_newer_format(self):
        """What a newer version wrote is not guessed at."""
        journal, _ = await self.opened()
        await self.store.put(LAYOUT.segment(1), b'{"log":"x","writer":"y","records":[],"format":2}')
        with self.assertRaisesRegex(Failed, "newer version"):
            await journal.tail()


class SleepTests(SegmentCase):
    async def grown(self, journal, count=3):
        for n in range(count):
            await journal.append([put(f"f{n}", 1)])

    async def forget_segments(self, replica, upto):
        """Do what the compactor does when the grace is over."""
        await self.store.put(LAYOUT.snapshot(upto), pack_snapshot(replica.state()))
        for number in range(1, upto + 1):
            await self.store.delete(LAYOUT.segment(number))

    async def test_slept_before_asking(self):
        """Who slept for long reads the snapshot before it believes that there is no next segment."""
        sleeper, asleep = await self.opened(clock=self.clock)
        other, replica = await self.opened()
        await self.grown(other)
        await self.forget_segments(replica, 3)
        self.asleep = HOUR / 2 + 1
        await sleeper.tail()
        self.assertEqual(len(asleep), 3)
        self.assertEqual(await sleeper.append([put("f0", 2, 1)]), [True])
        self.assertEqual(await self.numbers(), [4])

    async def test_slept_while_claiming(self):
        """A claim that took so long is not believed: its number may have been free only because it was deleted."""
        store = Faulty(self.store)
        sleeper, asleep = await self.opened(store, clock=self.clock)
        other, replica = await self.opened()
        await self.grown(other)
        await self.forget_segments(replica, 3)

        def sleep(name, key):
            if name == "put":
                self.asleep += HOUR / 2 + 1
                store.before = lambda name, key: None

        store.before = sleep
        self.assertEqual(await sleeper.append([put("mine", 1)]), [True])
        self.assertEqual(await self.shown(), {"f0": 1, "f1": 1, "f2": 1, "mine": 1})
        self.assertEqual(len(asleep), 4)

    async def test_awake(self):
        """Who is awake reads no snapshot again."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store, clock=self.clock)
        store.calls.clear()
        for _ in range(5):
            self.asleep += HOUR / 3
            await journal.append([Namespace("n")])
        self.assertEqual({name for name, _ in store.calls}, {"put"})


class CompactorTests(SegmentCase):
    async def setUp(self):
        await super().setUp()
        self.patch(compactor, "STEP", 4)

    async def write(self, journal, count, start=0):
        for n in range(start, start + count):
            await journal.append([put(f"f{n}", n + 1)])
            await journal._compactor.idle()  # one is written at a time: what is due meanwhile is left out

    def test_steps(self):
        """The larger the index, the seldomer it is written; within bounds."""
        self.patch(compactor, "STEP", 256)
        steps = [step(count) for count in (0, 10_000, 10_001, 20_000, 20_001, 40_001, 1_000_000)]
        self.assertEqual(steps, [256, 256, 512, 512, 1024, 2048, 4096])

    async def test_nothing(self):
        """A compactor finds nothing where nothing is."""
        state = await Compactor(self.store, LAYOUT, self.threads, 0.0).newest()
        self.assertEqual((state.position, len(state.entries)), (0, 0))

    async def test_written(self):
        """A snapshot is written at each step, and is all that a later process reads but for the tail."""
        journal, replica = await self.opened()
        await self.write(journal, 10)
        await journal.close()
        self.assertEqual(await self.numbers(LAYOUT.snapshots), [4, 8])
        found = unpack_snapshot((await self.store.get(LAYOUT.snapshot(8))).body)
        self.assertEqual((found.position, len(found.entries)), (8, 8))
        store = Faulty(self.store)
        _, later = await self.opened(store)
        self.assertEqual(later.state(), replica.state())
        segments = [key for name, key in store.calls if name == "get" and key.startswith(LAYOUT.log)]
        self.assertEqual(min(segments), LAYOUT.segment(9))

    async def test_kept_for_the_grace(self):
        """Segments stay until a snapshot that covers them is older than another by the grace."""
        journal, _ = await self.opened(grace=HOUR)
        await self.write(journal, 12)
        await journal.close()
        self.assertEqual(await self.numbers(), list(range(1, 13)))
        journal, _ = await self.opened(grace=0.0, clock=self.clock)
        await self.write(journal, 4, start=12)
        await journal.close()
        numbers, snapshots = await self.numbers(), await self.numbers(LAYOUT.snapshots)
        self.assertEqual((numbers, snapshots), ([], [16]))  # with no grace even the newest covers at once
        self.assertEqual(len(await self.shown()), 16)

    async def test_crash_at_every_step(self):
        """Wherever a process dies in append, compaction or cleaning, who comes later shows what was acknowledged."""
        for dies in range(1, 60):
            store, prefix = Faulty(self.store), f"crash{dies}"
            layout = Layout(prefix)
            count = 0

            def die(name, key, dies=dies):
                nonlocal count
                count += 1
                if count >= dies:
                    raise Unavailable("dead")

            store.before = die
            done = []
            journal, replica = self.journal(store, prefix, grace=0.0, clock=self.clock), Replica(self.threads)
            try:
                await journal.open(replica)
                for n in range(10):
                    await journal.append([put(f"f{n}", 1)])
                    done.append(f"f{n}")
            except Unavailable:
                pass
            await journal.close()
            later, found = self.journal(self.store, prefix, grace=0.0, clock=self.clock), Replica(self.threads)
            await later.open(found)
            self.assertLessEqual(set(done), {each.path for each in found}, dies)
            self.assertEqual(await later.append([put("after", 1)]), [True])
            await later.close()
            numbers = [number_of(each.key) async for page in self.store.list(layout.log) for each in page]
            self.assertEqual(numbers, list(range(found.position - len(numbers) + 1, found.position + 1)), "no gap")
        self.assertEqual(len(done), 10, "the last ones must have lived")

    async def test_no_snapshot_is_overdue(self):
        """When those whose turn it was died, somebody else writes the snapshot."""
        store = Faulty(self.store)
        store.before = lambda name, key: unavailable()(name, key) if key.startswith(LAYOUT.snapshots) else None
        first, _ = await self.opened()
        first._compactor.consider = lambda *_: None
        await self.write(first, 17)
        second, _ = await self.opened()
        await second.append([put("b", 1)])
        await second.close()
        self.assertEqual(await self.numbers(LAYOUT.snapshots), [18])

    async def test_snapshot_fails(self):
        """A snapshot that cannot be written harms nobody."""
        store = Faulty(self.store)
        journal, _ = await self.opened(store)

        def fail(name, key):
            if key.startswith(LAYOUT.snapshots):
                raise Unavailable("not now")

        store.before = fail
        await self.write(journal, 6)
        store.before = lambda name, key: None
        await self.write(journal, 6, start=6)
        await journal.close()
        self.assertEqual(await self.numbers(LAYOUT.snapshots), [8, 12])

    async def test_damaged_snapshot(self):
        """A damaged snapshot is passed over, as long as the log reaches back."""
        journal, _ = await self.opened()
        await self.write(journal, 9)
        await journal.close()
        await self.store.put(LAYOUT.snapshot(8), b"rubbish")
        self.assertEqual(len(await self.shown()), 9)
        await self.store.put(LAYOUT.snapshot(4), b"")
        self.assertEqual(len(await self.shown()), 9)

    async def test_begun_anew(self):
        """When nothing leads to the end of the log it is begun anew, under another name, and can be written."""
        journal, before = await self.opened()
        await self.write(journal, 9)
        await journal.close()
        for number in (4, 8):
            await self.store.put(LAYOUT.snapshot(number), b"rubbish")
        await self.store.delete(LAYOUT.segment(3))
        later, replica = await self.opened()
        self.assertEqual((len(replica), replica.position), (0, 10))
        self.assertNotEqual(replica.moment.now.log, before.moment.now.log)
        await later.append([put("f0", 1)])
        self.assertEqual(await self.shown(), {"f0": 1})
        self.assertTrue(before.moment.now.is_reset_for(replica.moment.now, 0))

    async def test_lost_log(self):
        """A log that ends before its newest snapshot is not taken for the whole."""
        journal, _ = await self.opened()
        await self.write(journal, 9)
        await journal.close()
        await self.store.put(LAYOUT.snapshot(8), b"rubbish")
        for number in range(5, 10):
            await self.store.delete(LAYOUT.segment(number))
        _, replica = await self.opened()
        self.assertEqual((len(replica), replica.position), (0, 9))

    async def test_another_log(self):
        """Who lives on when the log was begun anew notices, and follows."""
        journal, replica = await self.opened()
        await self.write(journal, 3)
        state = State(log="new", position=3)
        await self.store.put(LAYOUT.snapshot(3), pack_snapshot(state))
        other, _ = await self.opened()
        await other.append([put("x", 1)])
        await journal.tail()
        self.assertEqual({each.path for each in replica}, {"x"})
        self.assertEqual(await journal.append([put("y", 1)]), [True])
        self.assertEqual(set(await self.shown()), {"x", "y"})

    async def test_writers_agree_on_snapshots(self):
        """Several processes write one snapshot at each step, not one each."""
        journals = [(await self.opened())[0] for _ in range(3)]
        for n in range(24):
            await self.write(journals[n % 3], 1, start=n)
        for journal in journals:
            await journal.close()
        self.assertEqual(await self.numbers(LAYOUT.snapshots), [4, 8, 12, 16, 20, 24])


class LayoutTests(CoreCase):
    def test_apart(self):
        """No tree's name can make its keys another tree's own."""
        for prefix in ("", "a.stor", "a/b.stor/c", "/a", "a/", "a//b"):
            self.assertRaises(BadRequest, Layout, prefix)

    def test_keys(self):
        """Keys are where the page about them says, and short enough for the longest path."""
        self.assertEqual(LAYOUT.file("a/b"), "memory/a/b")
        self.assertEqual(LAYOUT.index(""), "memory/.sync-index.json")
        self.assertEqual(LAYOUT.index("n/m"), "memory/n/m/.sync-index.json")
        self.assertEqual(LAYOUT.path("memory/a/b"), "a/b")
        self.assertLess(len(LAYOUT.old("x" * 1000, 1 << 53)), 100)
        self.assertEqual(number_of(LAYOUT.old("a", 17)), 17)
        self.assertEqual(number_of("memory.stor/log/notes.txt"), -1)
