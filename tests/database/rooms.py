"""A database for one test."""

from twisted.internet.defer import Deferred, gatherResults


async def opened(case, database):
    """Start it now, stop it after the test unless the test has."""
    case.addCleanup(lambda: database.stopService() if database.running else None)
    await database.startService()
    return database


def at_once(*coroutines):
    """Run them together; wait for all."""
    return gatherResults([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)


async def settled(*coroutines):
    """Run them together; give what each gave or raised."""

    async def outcome(coroutine):
        try:
            return await coroutine
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            return error

    return await at_once(*map(outcome, coroutines))
