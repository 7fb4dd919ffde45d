"""A process that is run once, to its end or to a deadline."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred

from stor.children.leash import IReactor, Leashed
from stor.errors import Failed

OUTPUT_BYTES = 1 << 20  # of each pipe; the rest is read and dropped


class Ended(NamedTuple):
    """How it ended: the exit code, or the negative number of a signal, and what it said."""

    code: int
    out: bytes
    err: bytes


async def run(
    argv: Sequence[str], env: Mapping[str, str], timeout: float, reactor: IReactor, stdin: bytes = b""
) -> Ended:
    """Run `argv` in a session of its own; its group is killed after `timeout` seconds or on cancel.

    A non-zero exit code is no error. `Failed` when it cannot be started or did not end in time.
    """
    process = _Once(reactor)
    process.spawn(argv, env, stdin)
    deadline = reactor.callLater(timeout, process.expire)
    try:
        ended = await process.over
    finally:
        if deadline.active():
            deadline.cancel()
    if process.expired:
        raise Failed(f"{argv[0]} did not end within {timeout:g} s")
    return ended


class _Once(Leashed):
    def __init__(self, reactor: IReactor) -> None:
        super().__init__(reactor)
        self.over: Deferred[Ended] = Deferred(lambda _: self.kill())
        self.expired = False
        self._said = {1: bytearray(), 2: bytearray()}

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the beginning, drain the rest."""
        said = self._said[childFD]
        said += data[: OUTPUT_BYTES - len(said)]

    def ended(self, code: int) -> None:
        """Tell who waits, unless they have left."""
        if not self.over.called:
            self.over.callback(Ended(code, bytes(self._said[1]), bytes(self._said[2])))

    def expire(self) -> None:
        """The deadline has come."""
        self.expired = True
        self.kill()
