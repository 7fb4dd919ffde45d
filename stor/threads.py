"""Named pools of threads for what would make the reactor wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from stor.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
_LAST = 5.0  # seconds that a stop waits for what still runs

log = Logger()


class Threads(Service):
    """At most `size` threads of their own: who hangs here slows only those who need the same pool.

    At most `waiting` calls wait for a thread. A call that has not ended after `seconds` fails; its thread goes on,
    for nothing can end it. Threads are started when there is work for them.
    """

    def __init__(
        self, name: str, size: int, reactor: Any, *, waiting: int = 1024, seconds: float | None = None
    ) -> None:
        self.name = name
        self._reactor, self._size, self._most, self._seconds = reactor, size, size + waiting, seconds
        self._tick = min(0.5, (seconds or 0.0) / 8)  # between two looks for what is overdue
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._jobs: dict[_Job, None] = {}  # all that have not ended, oldest first
        self._ended: deque[_Job] = deque()
        self._called = False  # the reactor has been told that there is something in `_ended`
        self._threads = 0
        self._timer: IDelayedCall | None = None
        self._empty: Deferred[None] | None = None

    def startService(self) -> None:
        """Take work."""
        super().startService()
        self._queue, self._threads = SimpleQueue(), 0  # a thread that still hangs has the queue it began with

    def stopService(self) -> Deferred[None]:
        """End when what was asked for has ended, or does not within five seconds.

        Threads are daemons, so one that hangs does not keep the process.
        """
        super().stopService()
        for _ in range(self._threads):
            self._queue.put(None)
        if not self._threads:
            return succeed(None)
        self._empty = Deferred()
        return self._empty.addTimeout(_LAST, self._reactor, lambda *_: None).addBoth(self._rest)

    def _rest(self, _: object) -> None:
        self._empty = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for job in list(self._jobs):
            job.give_up(Unavailable(f"{self.name} stopped before this had ended"))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in one of the threads; raises what it raises, Unavailable when it takes or there is too much.

        A result that nobody waits for any more is closed, where it has a `close`.
        """
        if not self.running:
            raise Unavailable(f"{self.name} is not running")
        if len(self._jobs) >= self._most:
            raise Unavailable(f"too much is waiting for {self.name}", retry_after=1.0)
        job = _Job((work, args, kwargs))
        if self._seconds is not None:
            job.deadline = self._reactor.seconds() + self._seconds
            if self._timer is None:
                self._timer = self._reactor.callLater(self._tick, self._look)
        self._take(job)
        await job.done
        if job.error is not None:
            try:
                raise job.error
            finally:
                del job  # or the error's traceback would hold the error
        result: T = job.value
        return result

    def afterwards(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `work` some time soon; never refused, nobody waits for it, and what it raises is logged."""
        job = _Job((work, args, kwargs))
        job.done.addCallbacks(job.report, lambda _: None)  # or it was given up at the stop
        if self.running:
            self._take(job)
        else:
            job.work()
            job.done.callback(None)

    def _take(self, job: _Job) -> None:
        self._jobs[job] = None
        if self._threads < self._size and self._threads < len(self._jobs):
            self._threads += 1
            Thread(target=self._serve, args=(self._queue,), name=f"{self.name}-{self._threads}", daemon=True).start()
        self._queue.put(job)

    def _serve(self, queue: SimpleQueue[_Job | None]) -> None:
        """What each thread does."""
        while (job := queue.get()) is not None:
            job.work()
            self._ended.append(job)
            if not self._called:  # one call of the reactor is enough for all that end before it comes
                self._called = True
                self._reactor.callFromThread(self._deliver)
            del job  # while waiting for the next, hold nothing of the last
        self._reactor.callFromThread(self._leave, queue)

    def _leave(self, queue: SimpleQueue[_Job | None]) -> None:
        if queue is self._queue:
            self._threads -= 1
            if not self._threads and self._empty is not None:
                self._empty.callback(None)

    def _deliver(self) -> None:
        """Hand over what has ended; in the reactor."""
        self._called = False
        while self._ended:
            job = self._ended.popleft()
            self._jobs.pop(job, None)
            if not job.done.called:
                job.done.callback(None)
            elif hasattr(job.value, "close"):
                self.afterwards(job.value.close)

    def _look(self) -> None:
        """Give up what is overdue."""
        now = self._reactor.seconds()
        for job in [job for job in self._jobs if job.deadline <= now]:
            job.give_up(Unavailable(f"{self.name} took longer than {self._seconds} s", retry_after=1.0))
        self._timer = self._reactor.callLater(self._tick, self._look) if self._jobs else None


class _Job:
    """One call: made in a thread, its outcome handed over in the reactor."""

    __slots__ = ("call", "deadline", "done", "error", "value")

    def __init__(self, call: tuple[Callable[..., Any], Any, Any]) -> None:
        self.call: tuple[Callable[..., Any], Any, Any] | None = call
        self.done: Deferred[None] = Deferred(self._forget)
        self.deadline = float("inf")
        self.value: Any = None
        self.error: BaseException | None = None

    def work(self) -> None:
        """Make the call, unless nobody waits for it any more."""
        call, self.call = self.call, None
        if call is not None:
            try:
                self.value = call[0](*call[1], **call[2])
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                self.error = error

    def report(self, _: None) -> None:
        """Log what it raised; for calls that nobody waits for."""
        if self.error is not None:
            log.error("nobody waited for a call that failed: {why!r}", why=self.error)

    def give_up(self, why: Unavailable) -> None:
        """Tell who waits that it will not come; in the reactor."""
        if not self.done.called:
            self._forget(self.done)
            self.done.errback(why)

    def _forget(self, _: Deferred[None]) -> None:
        self.call = None
