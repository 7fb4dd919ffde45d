"""Several real processes over one store: no update is lost and the index never lies, whoever is killed when."""

import asyncio
import json
import os
import random
import resource
from secrets import token_hex

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.blobs.waiting import spread
from stor.storage.directory import Directory
from stor.storage.s3 import Bucket, BucketSettings
from tests.blobs.core import weed
from tests.blobs.processes import Processes, in_bucket, in_folder
from tests.end_to_end.blob_clients import Clients
from tests.end_to_end.blob_load import Load
from tests.places import folder
from tests.postgres import shared

FULL = bool(os.environ.get("STOR_TEST_FULL"))  # `make test-full`: as often as the contract's numbers say
ROUNDS, PUTS, KILLS = (200, 2000, 21) if FULL else (40, 2000, 6)
WRITERS = 16
INDEX = ".sync-index.json"


class ProcessesPromises:
    """`start` gives the processes, `store` what is below them."""

    timeout = 300

    def setUp(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.processes = self.start()
        self.processes.__enter__()
        self.addCleanup(self.processes.__exit__)

    async def run_now(self, work):
        """Run a coroutine of asyncio, whose thousand connections should not slow down the reactor."""
        return await deferToThread(asyncio.run, work)

    async def test_one_wins(self):
        """Of eight who create one path at the same time through all processes one is told 201, the others 412."""

        async def rounds():
            async with Clients() as clients:
                for turn in range(ROUNDS):
                    bodies = [f"{turn} {number}".encode() for number in range(8)]
                    puts = [
                        clients.ask(self.server(number), "PUT", f"/blob/once/{turn}", body, Content_MD5="new")
                        for number, body in enumerate(bodies)
                    ]
                    said = await asyncio.gather(*puts)
                    codes = sorted(each.code for each in said)
                    self.assertEqual(codes, [201] + [412] * 7, f"round {turn}")
                    winner = bodies[[each.code for each in said].index(201)]
                    there = await clients.ask(self.server(turn), "GET", f"/blob/once/{turn}")
                    self.assertEqual(there.body, winner)

        await self.run_now(rounds())
        await self.check_index()

    async def test_many_at_once(self):
        """Of thousands of puts at the same time through all processes, none is missing from the index of any."""

        async def put_all():
            async with Clients() as clients:
                puts = [
                    clients.ask(self.server(number), "PUT", f"/blob/many/{number}", str(number).encode())
                    for number in range(PUTS)
                ]
                return [None if said is None else said.code for said in await asyncio.gather(*puts)]

        codes = await self.run_now(put_all())
        self.assertEqual({code: codes.count(code) for code in set(codes)}, {201: PUTS})
        files = await self.check_index()
        self.assertEqual(set(files), {f"many/{number}" for number in range(PUTS)})

    async def test_killed(self):
        """Processes are killed at any moment: all that was acknowledged is there, and the index shows the objects."""
        dice = random.Random(token_hex(8))

        async def load():
            async with Clients() as clients:
                load = Load(clients, list(self.processes), seed=dice.randrange(1 << 30))
                working = asyncio.create_task(load.run(WRITERS))
                kills = [KILLS // 3] * 3
                await asyncio.gather(*(self.disturb(clients, number, kill) for number, kill in enumerate(kills)))
                load.stop()
                await working
                return load.ledger

        ledger = await self.run_now(load())
        self.assertEqual(ledger.strange, [])
        self.assertGreater(len(ledger.kept), 100)
        files = await self.check_index()
        live = {path: entry["md5"] for path, entry in files.items() if not entry["is_deleted"]}
        missing = [path for path in {*ledger.kept, *ledger.perhaps} if ledger.missing(path, live.get(path))]
        self.assertEqual(missing, [])
        for path, counted in ledger.counted.items():
            said = self.server(0).ask("GET", f"/blob/{path}")
            self.assertIn(int(said.body), range(counted, counted + ledger.uncounted.get(path, 0) + 1))
        self.processes[0].stop()
        self.processes[0].start()
        self.assertEqual(await self.check_index(), files)

    async def disturb(self, clients, number, kills):
        """Kill one process again and again, each time after a random while, and start it."""
        dice, server = random.Random(token_hex(8)), self.processes[number]
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.0, 1.0))
            await asyncio.to_thread(server.kill)
            await clients.forget(server)
            await asyncio.to_thread(server.start)

    def server(self, number):
        """The processes in turn."""
        return self.processes[number % len(self.processes)]

    async def check_index(self):
        """Every process shows the same index, and it is what the objects say; give it."""
        shown = [json.loads(process.ask("GET", "/sync").body)["files"] for process in self.processes]
        for each in shown[1:]:
            self.assertEqual(each, shown[0])
        there = await self.objects()
        self.assertEqual(set(shown[0]), set(there))
        for path, entry in shown[0].items():
            said = there[path].metadata
            self.assertEqual(entry["md5"], said["content-md5"])
            self.assertEqual(str(entry["version"]), said["version"])
            self.assertEqual(str(entry["is_deleted"]).lower(), said["is-deleted"])
        return shown[0]

    async def objects(self):
        """What the store says of each object, by path."""
        store, found = self.store(), {}
        await store.startService()
        self.addCleanup(store.stopService)

        async def look(key):
            found[key.removeprefix(f"{self.prefix}/")] = await store.head(key)

        async for page in store.list(f"{self.prefix}/"):
            keys = [listed.key for listed in page if not listed.key.endswith(INDEX)]
            await spread(look, keys, 16)
        return found


class FolderTests(ProcessesPromises, TestCase):
    """Four processes over one folder."""

    prefix = "memory"

    def start(self):
        self.folder = folder(self)
        return Processes(4, in_folder(self.folder))

    def store(self):
        return Directory(self.folder, reactor)


class BucketTests(ProcessesPromises, TestCase):
    """Four processes over one bucket."""

    def start(self):
        self.prefix = f"processes-{token_hex(4)}"
        return Processes(4, in_bucket(weed(), self.prefix))

    def store(self):
        settings = BucketSettings(
            bucket=weed().bucket, endpoint=weed().endpoint, access_key=weed().access_key, secret_key=weed().secret_key
        )
        return Bucket(settings, folder(self), reactor)


class PostgresTests(BucketTests):
    """Three processes over one bucket, with the index in one PostgreSQL."""

    def start(self):
        self.prefix = f"processes-{token_hex(4)}"
        return Processes(3, in_bucket(weed(), self.prefix), f"[database]\nurl = '{shared().fresh()}'")
