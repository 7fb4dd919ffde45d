"""What twistd needs of stor: options, and a service that starts, reloads and stops the house."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

import stor
from stor.config import Config, load
from stor.errors import StorError
from stor.logs import observer
from stor.stack import Stack

log = Logger()

DEFAULT = Path("stor.toml")


class Run(BaseOptions):
    """`run`: all parts, or some."""

    optParameters = [  # noqa: RUF012 - usage.Options reads it so
        ["only", None, None, "parts of the house, such as redis,web (default: all)"]
    ]

    def parts(self) -> frozenset[str] | None:
        """The parts named; None for all."""
        if self["only"] is None:
            return None
        return frozenset(part.strip() for part in self["only"].split(",") if part.strip())


class Options(BaseOptions):
    """`--config FILE run [--only PARTS]`; what is wrong is one line on stderr and exit code 1."""

    synopsis = "[--config FILE] run [--only PARTS]"
    optParameters = [  # noqa: RUF012
        ["config", "c", None, f"the configuration (default: {DEFAULT}, where it exists)"]
    ]
    subCommands = [["run", None, Run, "run the house"]]  # noqa: RUF012
    defaultSubCommand = "run"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Twisted would print all its help for a typing error."""
        try:
            super().parseOptions(options)
        except UsageError as why:
            give_up(str(why))

    def opt_version(self) -> NoReturn:
        """Print the version and end."""
        sys.stdout.write(f"stor {stor.__version__}\n")
        sys.exit(0)

    def path(self) -> Path | None:
        """The file named, which must exist, or the default one where it does."""
        if self["config"] is not None:
            return Path(self["config"])
        return DEFAULT if DEFAULT.exists() else None


class Outcome:
    """twistd always leaves with 0; this leaves with another code, when all else has been put away."""

    def __init__(self) -> None:
        self.code = 0
        atexit.register(self._leave)

    def _leave(self) -> None:
        if self.code:
            sys.stdout.flush()
            os._exit(self.code)


class IReactor(IReactorCore, IReactorFromThreads):
    """What a house needs of the reactor: to know when it runs, and to be heard from signals."""


class House(Service):
    """Lifts the Stack when the reactor runs, hears signals, and ends the process if it cannot rise."""

    def __init__(self, stack: Stack, lines: ILogObserver | None, outcome: Outcome, reactor: IReactor) -> None:
        self._stack, self._lines, self._outcome, self._reactor = stack, lines, outcome, reactor
        self._leaving = False

    def setServiceParent(self, parent: object) -> None:
        """Take the chance to tell the application, when it is one, which log twistd is to write."""
        if isinstance(parent, Componentized) and self._lines is not None:
            parent.setComponent(ILogObserver, self._lines)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Twistd calls this before the reactor runs, and waits for nobody."""
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """The reactor waits for this before it stops."""
        super().stopService()
        self._leaving = True
        return maybeDeferred(self._stack.stopService)

    def _begin(self) -> None:
        # Twisted's own handlers stop the reactor again at a second signal, which raises, and leave by
        # the signal instead of an exit code.
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal)
        maybeDeferred(self._stack.startService).addCallbacks(self._risen, self._failed)

    def _risen(self, _: object) -> None:
        # What was made until now stays: no collection need look at it again. One of all of it took 70 to 100 ms, every
        # second or so under load, while everybody waited; p99 of answers fell to less than half without it.
        gc.collect()
        gc.freeze()
        log.info("stor {version} is up", version=stor.__version__)

    def _failed(self, why: Failure) -> None:
        if self._leaving:  # the stop has ended the rise
            return
        self._outcome.code = 1
        if not why.check(StorError, OSError, CannotListenError):
            log.failure("stor cannot start", why)
        say(f"cannot start: {why.getErrorMessage() or repr(why.value)}")
        self._leave("it cannot start")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        act = self._reload if number == signal.SIGHUP else self._leave
        self._reactor.callFromThread(act, signal.Signals(number).name)

    def _leave(self, why: str) -> None:
        """Stop once; an orderly stop is not made faster by asking twice."""
        if self._leaving:
            log.info("stopping already ({why})", why=why)
            return
        self._leaving = True
        log.info("stopping: {why}", why=why)
        self._reactor.stop()

    def _reload(self, why: str) -> None:
        reload: Any = getattr(self._stack, "reload", None)
        if reload is None or self._leaving:
            log.info("nothing to reload ({why})", why=why)
            return
        done = maybeDeferred(reload)
        done.addCallbacks(lambda _: log.info("reloaded"), self._not_reloaded)

    def _not_reloaded(self, why: Failure) -> None:
        if why.check(StorError):
            log.error("not reloaded, all is as before: {why}", why=why.getErrorMessage())
        else:
            log.failure("not reloaded", why)


def makeService(options: Options) -> IService:
    """Read the configuration, put the house together, and give it to twistd."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it would choose it

    run = options.subOptions
    only = run.parts() if isinstance(run, Run) else None
    try:
        config = load(options.path(), os.environ)
        from stor.assembly import build  # noqa: PLC0415 - a mistyped key is told without loading it all

        stack = build(config, reactor, only, partial(load, options.path(), os.environ))
    except StorError as why:
        give_up(str(why))
    lines = _lines(config, cast("BaseOptions", options.parent))
    return House(stack, lines, Outcome(), cast("IReactor", reactor))


def _lines(config: Config, twistd: BaseOptions) -> ILogObserver | None:
    """Our log on stdout, unless twistd was told to write elsewhere, or in its own way."""
    if not twistd["nodaemon"] or twistd["logfile"] or twistd["syslog"]:
        return None
    return observer(sys.stdout, config.log.format, config.log.level)


def give_up(why: str) -> NoReturn:
    """One clear line, and exit code 1."""
    say(why)
    sys.exit(1)


def say(line: str) -> None:
    """To the real stderr: twistd turns sys.stderr into log events."""
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"stor: {line}\n")
        stream.flush()
