from random import Random

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from stor.errors import Conflict
from stor.objects.listing import page
from stor.objects.records import Name
from stor.objects.searching import Order, Query
from tests.database.rooms import at_once
from tests.objects.rooms import invariants, opened, put

STAYING, COMING = 60, 40
WRITERS, ROUNDS = 4, 30
NAMESPACES = ("docs", "photos")


class Changes:
    """Real uploads and deletions while others list, each at its own pace."""

    timeout = 120

    async def setUp(self):
        self.objects = await opened(self, self.backend)
        self.random = Random(5)

    def name(self, key):
        return Name(NAMESPACES[len(key) % 2], "acme", key)

    async def list(self, query, limit):
        """Give the ids of all pages."""
        found, position = [], None
        while True:
            one = await self.objects.database.read(
                lambda tx, at=position: page(tx, self.objects.kind, query, at, limit)
            )
            found += [each.id for each in one.objects]
            position = one.next
            if position is None:
                return found

    async def change(self, writer):
        """Upload, replace and delete keys that fall between those that stay."""
        for number in range(ROUNDS):
            key = f"{self.random.randrange(COMING):02}{'x' * (number % 2)}-w{writer}"
            try:
                made = await put(self.objects, self.name(key), b"%d" % self.random.randrange(10))
            except Conflict:  # it is there with other bytes
                found = await self.objects.find_key(self.name(key))
                await self.objects.delete(found.object.id)
            else:
                if number % 3:
                    await self.objects.delete(made.object.id)

    async def test_survivors(self):
        """What is there all the while is in every listing exactly once, in every order, and nothing is there twice."""
        keys = [f"{number % COMING:02}{'y' * (number % 3)}{number}" for number in range(STAYING)]
        made = await at_once(*(put(self.objects, self.name(key), key.encode()) for key in keys))
        stayed = {each.object.id for each in made}
        changes = at_once(*(self.change(writer) for writer in range(WRITERS)))
        listings = 0
        while not changes.called or not listings:
            queries = [Query("acme", order=order, descending=down) for order in Order for down in (False, True)]
            for found in await at_once(*(self.list(query, 7) for query in queries)):
                self.assertEqual(len(found), len(set(found)))
                self.assertEqual(stayed - set(found), set())
                listings += 1
        await gatherResults([changes])
        self.assertGreater(listings, 6)
        await invariants(self.objects)


class SqliteChangesTests(Changes, TestCase):
    backend = "sqlite+folder"


class PostgresChangesTests(Changes, TestCase):
    backend = "postgresql+folder"
