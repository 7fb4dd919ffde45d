"""A process that is killed (SIGKILL) before any step of an upload: what was acknowledged becomes one object."""

from dataclasses import asdict

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.objects.records import Name
from stor.objects.resumable.records import State
from stor.objects.resumable.service import Uploads
from stor.objects.stuck import abandon
from tests.objects.rooms import Room, collect, get, invariants, places, started
from tests.objects.test_crashes import Child
from tests.objects.upload_deeds import AS_PARTS, BODY, send

MOST_STEPS = 60


class CrashTests(TestCase):
    timeout = 240
    backend = "sqlite+folder"

    def setUp(self):
        self.at = places(self, self.backend)
        self.child = Child()
        self.addCleanup(self.child.close)

    async def dies_everywhere(self, size, pieces):
        """Give how often it was killed before it came to its end."""
        for moment in range(1, MOST_STEPS):
            key = f"{size}/{moment}"
            job = {"deeds": "tests.objects.upload_deeds", "places": asdict(self.at), "die_at": moment}
            said, code = await deferToThread(self.child.do, **job, key=key, size=size, pieces=pieces)
            self.assertIn(code, {0, -9}, key)
            room = await started(self, Room(self.at))
            if said:
                await self.goes_on(room.objects, key, BODY[:size], *said[-1][1:])
            await self.is_clean(room.objects)
            await room.stopService()
            if not code:
                return moment - 1
        return self.fail("it does not come to its end")

    async def goes_on(self, objects, key, body, upload_id, acknowledged):
        await abandon(objects)
        uploads = Uploads(objects, AS_PARTS, reactor)
        await uploads.startService()
        upload = await uploads.settled(upload_id, None)
        self.assertGreaterEqual(upload.received, acknowledged)
        if upload.state is State.OPEN:
            upload = await send(uploads, upload_id, upload.received, body[upload.received :])
        self.assertEqual((upload.state, upload.received), (State.DONE, len(body)), key)
        found = await objects.find_key(Name("photos", "acme", key))
        self.assertEqual(found.object.id, upload.object_id)
        self.assertEqual(await get(objects, upload.object_id), body, key)
        sql = "SELECT COUNT(*) FROM object WHERE key = ?"
        self.assertEqual(await objects.database.read(lambda tx: tx.execute(sql, (key,))), [(1,)])
        await uploads.stopService()
        await invariants(objects)  # each file has a row: what the dead had put, too

    async def is_clean(self, objects):
        """Nothing is left of it, neither rows nor files."""
        later = objects.now() + 301_000_000  # what the dead had claimed is free then
        objects.now = lambda: later
        await abandon(objects)
        await collect(objects)
        await invariants(objects)
        sql = "SELECT (SELECT COUNT(*) FROM object_doomed), (SELECT COUNT(*) FROM object_upload_part)"
        self.assertEqual(await objects.database.read(lambda tx: tx.execute(sql)), [(0, 0)])

    async def test_parts(self):
        """In two parts."""
        self.assertGreater(await self.dies_everywhere(len(BODY), 2), 12)

    async def test_direct(self):
        """In one piece, so small that no part is kept."""
        self.assertGreater(await self.dies_everywhere(900, 1), 3)
