"""A process that leads a session of its own, and whose group ends with it."""

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from stor.errors import Failed

# setsid: signals of our terminal are ours, and the group's id is the child's process id. setpriv: the
# child hears a SIGTERM when we die without a word, even by SIGKILL. Both end in exec: one process, one id.
LEASH = ("setsid", "setpriv", "--pdeathsig", "TERM", "--")
DRAIN_SECONDS = 1.0


class IReactor(IReactorProcess, IReactorTime):
    """What a child needs of the reactor: processes and delayed calls."""


class Leashed(ProcessProtocol):
    """Subclasses say what is done with the output and what follows `ended`.

    Both pipes are drained to the end. When the process has gone, the rest of its group is killed; a
    grandchild that left the group and still holds our pipes is waited for `DRAIN_SECONDS`, no longer.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self.pid = 0
        self._timer: IDelayedCall | None = None

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes) -> None:
        """Start it; `Failed` when there is no such program or the system has no room."""
        if shutil.which(argv[0], path=env.get("PATH", os.defpath)) is None:
            raise Failed(f"{argv[0]}: no such program")
        try:
            self._reactor.spawnProcess(self, LEASH[0], [*LEASH, *argv], dict(env))
        except OSError as why:
            raise Failed(f"{argv[0]}: cannot be started: {why.strerror}") from None
        if stdin:
            self._process.write(stdin)
        self._process.closeStdin()

    def terminate(self, seconds: float) -> None:
        """Ask the process to end; kill its group when it has not after `seconds`."""
        self._cancel()
        self._timer = self._reactor.callLater(seconds, self.kill)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the group at once."""
        self._cancel()
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGKILL)  # it may not have come as far as to its own group
        self._kill_group()

    def connectionMade(self) -> None:
        """Remember the id, which Twisted forgets when the process has gone."""
        self._process = cast("IProcessTransport", self.transport)
        self.pid = cast("int", self._process.pid)

    def processExited(self, reason: Failure) -> None:
        """The leader has gone; see to what it left behind."""
        self._cancel()
        self._kill_group()
        self._timer = self._reactor.callLater(DRAIN_SECONDS, self._process.loseConnection)

    def processEnded(self, reason: Failure) -> None:
        """Gone, and the pipes are empty."""
        self._cancel()
        self.ended(exit_code(reason))

    def ended(self, code: int) -> None:
        """Overridden: what follows the end."""
        raise NotImplementedError

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def exit_code(reason: Failure) -> int:
    """The exit code, or the negative number of the signal, as `subprocess` has it."""
    if not reason.check(ProcessTerminated):
        return 0
    how = cast("ProcessTerminated", reason.value)
    return -how.signal if how.signal is not None else cast("int", how.exitCode)
