"""The queue of writes: what comes while a commit runs is in the next one."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from stor.database.group import Outcome, Work
from stor.errors import Unavailable

MOST_WAITING = 4096
MOST_AT_ONCE = 256  # so that nobody waits for thousands of others


class Writer:
    """Hands works in groups, one group at a time and in the order they came, to `commit`."""

    def __init__(self, commit: Callable[[Sequence[Work]], Awaitable[list[Outcome]]]) -> None:
        self._commit = commit
        self._waiting: deque[tuple[Work, Deferred[Any]]] = deque()
        self._idle: Deferred[None] = succeed(None)
        self._closed = False

    async def write(self, work: Work) -> Any:
        """Give what the work gave, once it is durable; raises what it raised.

        Unavailable when too many wait. A caller that is cancelled while it waits has done nothing; afterwards it
        cannot know.
        """
        if self._closed:
            raise Unavailable("the database is closed")
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable("too many writes wait for the database", 1.0)
        done = Deferred[Any]()
        self._waiting.append((work, done))
        if self._idle.called:
            self._idle = Deferred.fromCoroutine(self._drain())
        return await done

    async def close(self) -> None:
        """Take no more; return when all that came is done."""
        self._closed = True
        idle = self._idle
        await idle

    async def _drain(self) -> None:
        while group := self._next():
            try:
                outcomes = await self._commit([work for work, _ in group])
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                outcomes = [Outcome(error=error)] * len(group)
            for (_, done), outcome in zip(group, outcomes, strict=True):
                if outcome.error is None:
                    done.callback(outcome.value)
                else:
                    done.errback(outcome.error)

    def _next(self) -> list[tuple[Work, Deferred[Any]]]:
        """Take the oldest; those who were cancelled while they waited are left out."""
        group: list[tuple[Work, Deferred[Any]]] = []
        while self._waiting and len(group) < MOST_AT_ONCE:
            work, done = self._waiting.popleft()
            if not done.called:
                group.append((work, done))
        return group
