"""Whatever the order of the steps: nothing is lost, nobody reads wrong bytes, and nothing is left behind."""

import os

from stor.errors import Missing
from stor.objects import collector, commits, condemn, rows, sweeper, uploading
from stor.objects.core import Objects
from stor.objects.pace import timed
from tests.objects import scenarios
from tests.objects.races import RaceCase
from tests.objects.rooms import LARGE, SMALL, Rows

FULL = bool(os.environ.get("STOR_TEST_FULL"))


class SharedBytes:
    async def test_last_reference(self):
        """The last reference to bytes goes while the same bytes come."""
        await self.race(scenarios.last_reference)

    async def test_collection(self):
        """Bytes without a reference are collected while the same bytes come."""
        await self.race(scenarios.collection)

    async def test_two_deletes(self):
        """Of two deletes of an object one is too late, and is counted by nobody."""
        await self.race(scenarios.two_deletes)

    async def test_moves_and_delete(self):
        """An object moves to another class while it is deleted."""
        await self.race(scenarios.moves_and_delete)

    async def test_two_classes(self):
        """An object moves to a class while the same bytes come to it."""
        await self.race(scenarios.two_classes)


class SharedKeys:
    async def test_two_replace(self):
        """Of two who replace what they know one is too late."""
        await self.race(scenarios.two_replace)

    async def test_two_replace_any(self):
        """Of two who replace whatever there is both do."""
        await self.race(scenarios.two_replace_any)

    async def test_same_key(self):
        """Of two different bodies under one key one gets it."""
        await self.race(scenarios.same_key)

    async def test_same_key_same_bytes(self):
        """Of two equal bodies under one key there is one object."""
        await self.race(scenarios.same_key_same_bytes)

    async def test_two_create(self):
        """Of two who want a key to be free one finds it so."""
        await self.race(scenarios.two_create)


class ThreeAtOnce:
    async def test_last_reference_and_collection(self):
        """The last reference goes and is collected while the same bytes come."""
        await self.race(scenarios.last_reference_and_collection)

    async def test_two_deletes_and_collection(self):
        """Of two deletes of an object one is too late, and its bytes stay for the tenant who shares them."""
        await self.race(scenarios.two_deletes_and_collection)

    async def test_damaged(self):
        """Bytes that are damaged where they are stored are healed by the same bytes, and never given."""
        await self.race(scenarios.damaged)

    async def test_damaged_and_same_key(self):
        """Bytes that are damaged where they are stored are healed when they come under the key that has them."""
        await self.race(scenarios.damaged_and_same_key)

    async def test_two_classes_and_collection(self):
        """An object moves to the class where the same bytes go and are collected."""
        await self.race(scenarios.two_classes_and_collection)

    async def test_moves_and_read(self):
        """An object moves while it is read, and what it leaves behind is collected."""
        await self.race(scenarios.moves_and_read)

    async def test_replaced(self):
        """A key that gets other bytes is never without any, and what it had is collected."""
        await self.race(scenarios.replaced)

    async def test_adopted(self):
        """Bytes are used again without being sent, while their only object goes."""
        await self.race(scenarios.adopted)

    async def test_given_up(self):
        """An upload that was given up cannot commit, nor harm those who have the same bytes."""
        await self.race(scenarios.given_up)

    async def test_given_up_and_key(self):
        """An upload that was given up cannot have its key back from whoever took it."""
        await self.race(scenarios.given_up_and_key)

    async def test_swept(self):
        """Files without a row are looked for while the same bytes come and go."""
        await self.race(scenarios.swept)

    async def test_two_collectors(self):
        """Two collect while the same bytes come."""
        await self.race(scenarios.two_collectors)


class Collected:
    """Those of `ThreeAtOnce` that are always run on PostgreSQL, by statement."""

    sizes = (SMALL,)
    test_last_reference_and_collection = ThreeAtOnce.test_last_reference_and_collection
    test_adopted = ThreeAtOnce.test_adopted


class CollectedOrNot:
    """Those of `SharedBytes` that are always run on buckets."""

    test_last_reference = SharedBytes.test_last_reference
    test_collection = SharedBytes.test_collection


class SqliteTests(SharedBytes, SharedKeys, RaceCase):
    """All orders of whole transactions."""


class SqliteThreeTests(ThreeAtOnce, RaceCase):
    """All orders in which one operation, or two, are interrupted."""

    preemptions = 2 if FULL else 1


class PostgresTests(SharedBytes, SharedKeys, RaceCase):
    """All orders of statements in which one operation, or two, are interrupted."""

    backend = "postgresql+folder"
    by_statement = True
    preemptions = 2 if FULL else 1


class PostgresThreeTests(ThreeAtOnce if FULL else Collected, RaceCase):
    """All orders of statements in which one operation is interrupted."""

    backend = "postgresql+folder"
    by_statement = True
    preemptions = 1


class BucketTests(SharedBytes if FULL else CollectedOrNot, RaceCase):
    """The orders of whole transactions, and of calls of two buckets, in which one operation is interrupted."""

    backend = "postgresql+s3"
    preemptions = 1
    sizes = (LARGE,)


class MutationTests(RaceCase):
    """These tests would notice: each mistake that could be made here is made, and found."""

    preemptions = 2

    async def noticed(self, scenario, size):
        """See that a promise is broken; that the test itself breaks down does not count."""
        with self.assertRaises(AssertionError) as found:
            await self.race(scenario, size)
        return str(found.exception)

    async def test_names_used_twice(self):
        """Copies that are named by their digest alone: the collector unlinks bytes that came back."""
        self.patch(uploading, "copy_name", lambda digest: f"sha256/{digest[:2]}/{digest}.{'0' * 20}")
        self.assertIn("no bytes", await self.noticed(scenarios.collection, LARGE))

    async def test_no_second_look(self):
        """A collector that removes what was idle when it looked last: references come in between."""
        idle = []

        def settle(tx, kind, until, now, most):
            batch = condemn.settle(tx, kind, until, now, most)
            idle[:] = tx.execute("SELECT id FROM object_blob WHERE idle_since IS NOT NULL")
            return batch

        @timed
        def hasty(tx, **_):
            tx.many("DELETE FROM object_blob WHERE id = ?", idle)
            return 0

        self.patch(collector, "settle", settle)
        self.patch(collector, "condemn", hasty)
        self.assertIn("has no blob", await self.noticed(scenarios.collection, SMALL))

    async def test_asked_too_early(self):
        """A sweeper that asks for the rows before it looks for the files: uploads come in between."""

        async def hasty(objects, storage_class):
            known = {copy for copy, _ in (await objects.database.read(Rows)).copies()}
            async for page in objects.stores[storage_class].list("sha256/"):
                strays = [each.key for each in page if each.key not in known]
                await objects.database.write(lambda tx, found=strays: self.doom(tx, found, storage_class))

        self.patch(sweeper, "sweep", hasty)
        self.assertIn("rows speak of", await self.noticed(scenarios.swept, LARGE))

    def doom(self, tx, found, storage_class):
        for copy in found:
            rows.doom(tx, copy, storage_class, 0)

    async def test_no_fence(self):
        """An upload that commits without its row: it was given up in between."""
        self.patch(commits, "hold_writing", lambda tx, at, object_id: None)
        self.assertIn("acknowledged", await self.noticed(scenarios.given_up, LARGE))

    async def test_not_looked_up_again(self):
        """A reader who does not look again where the bytes are: they were moved in between."""
        real = Objects.find

        async def find(objects, object_id):
            if objects.node != "read" or not hasattr(objects, "has_found"):
                objects.has_found = True
                return await real(objects, object_id)
            raise Missing("gone")

        self.patch(Objects, "find", find)
        self.preemptions = 1
        self.assertIn("not found", await self.noticed(scenarios.moves_and_read, LARGE))


class StatementMutationTests(RaceCase):
    """The same for mistakes that only PostgreSQL punishes."""

    backend = "postgresql+folder"
    by_statement = True
    preemptions = 1

    async def test_no_lock(self):
        """Two deletes that look at an object without a lock: both go, and are counted."""
        self.patch(rows, "FOR_UPDATE", dict.fromkeys(rows.FOR_UPDATE, ""))
        with self.assertRaises(AssertionError):
            await self.race(scenarios.two_deletes, SMALL)
