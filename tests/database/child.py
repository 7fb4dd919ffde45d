"""A process that writes to a database and says what was acknowledged.

It is called `python -m tests.database.child NAME WRITERS ROUNDS`. The place, a path or a URL, comes by standard
input; each acknowledged write is a line on standard output, and each refused one a line with the name of the error.
"""

import os
import sys
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from stor.database.postgres import Postgres
from stor.database.sqlite import Sqlite
from stor.errors import StorError

TABLES = (
    "CREATE TABLE IF NOT EXISTS total (n BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY, place BIGINT NOT NULL)",
    "INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total)",
)


def note(name, transaction):
    """Count, and remember the name: two statements that belong together."""
    ((place,),) = transaction.execute("UPDATE total SET n = n + 1 RETURNING n")
    transaction.execute("INSERT INTO seen VALUES (?, ?)", (name, place))


def say(word):
    """Print at once: we may be killed at any moment."""
    os.write(1, word.encode() + b"\n")


async def write(database, name, rounds):
    for number in range(rounds):
        try:
            await database.write(partial(note, f"{name}-{number}"))
        except StorError as refusal:
            say(type(refusal).__name__)
        else:
            say(f"{name}-{number}")


async def serve(reactor, place, name, writers, rounds):
    database = Postgres(place, reactor) if "://" in place else Sqlite(Path(place), reactor)
    await database.startService()
    names = [f"{name}-{number}" for number in range(int(writers))]
    await gatherResults([Deferred.fromCoroutine(write(database, each, int(rounds))) for each in names])
    await database.stopService()


if __name__ == "__main__":
    where = sys.stdin.read()
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor, where, *sys.argv[1:])))
