"""A survey reads one state for as long as it takes, and keeps nobody from writing."""

import time

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from stor.database import postgres
from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.errors import Unavailable
from tests.database.rooms import opened
from tests.places import folder
from tests.postgres import shared


def count(transaction):
    return transaction.execute("SELECT COUNT(*) FROM object_hold")[0][0]


def add(transaction):
    transaction.execute("INSERT INTO object_hold SELECT CAST(COUNT(*) AS TEXT), 0 FROM object_hold")


class Slowly:
    """Looks, waits, and looks again; `looked` fires after the first look."""

    def __init__(self):
        self.looked = Deferred()

    def __call__(self, transaction):
        before = count(transaction)
        reactor.callFromThread(self.looked.callback, None)
        time.sleep(1.5)
        return before, count(transaction)


class SurveyPromises:
    async def setUp(self):
        self.patch(postgres, "SECONDS", 0.7)
        self.database = await opened(self, self.make())
        await self.database.write(add)

    async def test_one_state(self):
        """What others write meanwhile it does not see, they do not wait for it, and it knows no limit of time."""
        slowly = Slowly()
        surveying = Deferred.fromCoroutine(self.database.survey(slowly))
        await slowly.looked
        for number in range(2, 5):
            await self.database.write(add)
            self.assertEqual(await self.database.read(count), number)
        self.assertFalse(surveying.called)
        self.assertEqual(await surveying, (1, 1))
        self.assertEqual(await self.database.survey(count), 4)

    async def test_left(self):
        """Who does not wait for it any more harms nobody; on a closed database it is refused."""
        slowly = Slowly()
        surveying = Deferred.fromCoroutine(self.database.survey(slowly))
        await slowly.looked
        surveying.cancel()
        with self.assertRaises(CancelledError):
            await surveying
        self.assertEqual(await self.database.survey(count), 1)
        await self.database.stopService()
        with self.assertRaises(Unavailable):
            await self.database.survey(count)
        await self.database.startService()
        self.assertEqual(await self.database.survey(count), 1)


class SqliteTests(SurveyPromises, TestCase):
    def make(self):
        return Sqlite(folder(self) / "stor.db", reactor)


class PostgresTests(SurveyPromises, TestCase):
    def make(self):
        return Postgres(shared().fresh(), reactor)
