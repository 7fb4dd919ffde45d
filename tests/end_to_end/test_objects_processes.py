"""Three real processes over one PostgreSQL and one S3, killed at any moment: nothing acknowledged is lost, ever."""

import asyncio
import os
import random
from collections import Counter
from contextlib import ExitStack
from secrets import token_hex
from time import time

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from stor.objects.fsck import fsck
from stor.objects.rules import MICROSECONDS
from tests.end_to_end.blob_clients import Clients
from tests.objects.processes import over
from tests.objects.rooms import LARGE, SMALL, Room, Rows, body_of, collect, invariants, places, started

KILLS = 20 if os.environ.get("STOR_TEST_FULL") else 4
PROCESSES, WRITERS, DELETERS, READERS = 3, 8, 4, 4
CONTENTS = [body_of(f"content {number}", LARGE if number % 2 else SMALL) for number in range(10)]
TENANTS = ("acme", "umbrella")
MOST = 100  # objects at a time
LATER = 3000 * MICROSECONDS  # all that was claimed, or was to linger, is due


class Load:
    """Clients, and what they were told."""

    def __init__(self, servers, clients, seed):
        self.servers, self.clients, self.dice = servers, clients, random.Random(seed)
        self.going, self.done, self.strange = True, Counter(), []
        self.live, self.leaving, self.unknown = {}, {}, {}  # by path; `unknown`: nobody told us what came of it
        self.numbers = iter(range(1 << 30))

    async def run(self):
        works = [(self.write, WRITERS), (self.delete, DELETERS), (self.read, READERS)]
        await asyncio.gather(*(self.again(work) for work, number in works for _ in range(number)))

    async def again(self, work):
        while self.going:
            said = await work()
            await asyncio.sleep(0.3 if said is None else 0)

    async def ask(self, method, path, body=b"", **headers):
        """Ask any of them; None when there was no answer, or one that says: later."""
        said = await self.clients.ask(self.dice.choice(self.servers), method, path, body, **headers)
        if said is None or said.code == 503:
            self.done["unanswered"] += 1
            return None
        return said

    def take(self):
        return self.dice.choice(list(self.live.items())) if self.live else ("", b"")

    async def write(self):
        if len(self.live) > MOST:
            return None
        content = self.dice.choice(CONTENTS)
        path = f"/v1/objects/by-key/soak/{self.dice.choice(TENANTS)}/{next(self.numbers)}"
        said = await self.ask("PUT", path, content, X_Storage_Class=self.dice.choice(["hot", "cold"]))
        if said is None:
            self.unknown[path] = content
        elif said.code == 201:
            self.done["written"] += 1
            self.live[path] = content
        else:
            self.strange.append(f"PUT {path}: {said}")
        return said

    async def delete(self):
        path, _ = self.take()
        if not path:
            return None
        self.leaving[path] = self.live.pop(path)
        said = await self.ask("DELETE", path)
        if said is None:
            return None
        if said.code == 204:
            self.done["deleted"] += 1
        else:
            self.strange.append(f"DELETE {path}: {said}")
        return said

    async def read(self):
        path, content = self.take()
        said = await self.ask("GET", path) if path else None
        if said is None:
            return None
        self.done["read"] += 1
        if not (said.code == 200 and said.body == content) and not (said.code == 404 and path in self.leaving):
            self.strange.append(f"GET {path}: {said.code}, {len(said.body)} bytes")
        return said

    async def settle(self):
        """See that all say the same of what lives, end what is undone, and that every key can be had."""
        self.dice.shuffle(self.servers)
        await self.each(self.see, self.live)
        await self.each(self.end, self.leaving)
        await self.each(self.have, self.unknown)

    async def each(self, work, paths):
        waiting = iter(list(paths.items()))

        async def some():
            for path, content in waiting:
                await work(path, content)

        await asyncio.gather(*(some() for _ in range(WRITERS)))

    async def see(self, path, content):
        for server in self.servers:
            said = await self.clients.ask(server, "GET", path)
            if said is None or (said.code, said.body) != (200, content):
                self.strange.append(f"GET {path}: {said and said.code}")

    async def end(self, path, content):
        first, second, *_ = self.servers
        deleted = await self.clients.ask(first, "DELETE", path)
        seen = await self.clients.ask(second, "GET", path)
        if deleted is None or seen is None or deleted.code not in {204, 404} or seen.code != 404:
            self.strange.append(f"DELETE {path}: {deleted} {seen}")

    async def have(self, path, content):
        said = await self.clients.ask(self.dice.choice(self.servers), "PUT", path, content)
        if said is None or said.code not in {200, 201}:
            self.strange.append(f"PUT {path} again: {said}")
        self.live[path] = content


class ProcessTests(TestCase):
    timeout = 600

    async def test_killed(self):
        """Every 201 stays readable until its own delete; afterwards fsck finds nothing, and nothing is left over."""
        self.at = places(self, "postgresql+s3")
        servers = [over(self.at) for _ in range(PROCESSES)]
        seed = token_hex(8)
        with ExitStack() as running:
            for server in servers:
                running.callback(server.close)
            await gatherResults([deferToThread(server.start) for server in servers])
            load = await deferToThread(asyncio.run, self.loaded(servers, seed))
            self.assertEqual(load.strange, [], seed)
            for what in ("written", "deleted", "read", "unanswered"):
                self.assertGreater(load.done[what], 0, load.done)
        await self.check_at_rest(load)

    async def loaded(self, servers, seed):
        async with Clients() as clients:
            load = Load(servers, clients, seed)
            working = asyncio.create_task(load.run())
            for number in range(KILLS):
                await asyncio.sleep(load.dice.uniform(0.5, 2.0))
                await asyncio.to_thread(servers[number % PROCESSES].kill)
                await clients.forget(servers[number % PROCESSES])
                await asyncio.sleep(load.dice.uniform(0.0, 0.5))
                await asyncio.to_thread(servers[number % PROCESSES].start)
            await asyncio.sleep(1.0)
            load.going = False
            await working
            await load.settle()
        return load

    async def check_at_rest(self, load):
        """Look below: rows and bytes agree, and one collection leaves nothing that nobody refers to."""
        objects = (await started(self, Room(self.at))).objects
        await invariants(objects)
        objects._ledger.now = lambda: LATER + int(time() * MICROSECONDS)
        await collect(objects)
        await invariants(objects)
        stored = await objects.database.read(Rows)
        self.assertEqual([blob.id for blob in stored.blobs.values() if not blob.refs], [])
        self.assertEqual(stored.doomed, {})
        self.assertEqual(len([each for each in stored.objects if each.state == "COMMITTED"]), len(load.live))
        findings = []
        await fsck(objects, False, True, findings.append)
        self.assertEqual(findings, [])
