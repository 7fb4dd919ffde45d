"""A process kept alive as a Service: ready before the start is over, gone before the stop is."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from stor.children.leash import IReactor, Leashed
from stor.children.lines import LastWords, Lines
from stor.children.machine import Core, Life, machine
from stor.errors import Failed
from stor.logs import redact

log = Logger()


class Child(Service):
    """Starts `argv` and starts it again, with growing pauses, whenever it ends by itself.

    `is_ready(line)` is asked for each line of its output, on either pipe, until it says yes. `stdin` is
    written at each start and the pipe closed. `secrets` are put out of what is reported of its output.
    `on_line` gets each line as it is.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        reactor: IReactor,
        *,
        is_ready: Callable[[bytes], bool],
        stdin: bytes = b"",
        stop_seconds: float = 10.0,
        start_seconds: float = 10.0,
        on_line: Callable[[bytes], None] | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self.setName(name)
        self._argv, self._env, self._stdin = tuple(argv), dict(env), stdin
        self._reactor, self._stop_seconds = reactor, stop_seconds
        self._is_ready, self._on_line, self._secrets = is_ready, on_line, tuple(secrets)
        self._process: _Process | None = None
        self._words = ""
        self._core = Core(name, self, reactor, start_seconds)
        self._life: Life = machine(self._core)

    def __repr__(self) -> str:
        return f"<Child {self.name} {self.state}>"

    @property
    def state(self) -> str:
        """Where it is in its life; "up" is ready."""
        return self._core.state

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return None if self._process is None else self._process.pid

    def startService(self) -> Deferred[None]:
        """Fires when it is ready; `Failed`, with its last lines, when it ended or was late before that."""
        super().startService()
        self._core.started = started = Deferred[None]()
        self._life.start()
        return started

    def stopService(self) -> Deferred[None]:
        """SIGTERM, after `stop_seconds` SIGKILL for its group; fires when it is gone."""
        super().stopService()
        gone = Deferred[None]()
        self._core.gone.append(gone)
        self._life.stop()
        return gone

    def spawn(self) -> None:
        """For the machine: start the process."""
        self._process = _Process(self._reactor, self._heard, self._ended)
        try:
            self._process.spawn(self._argv, self._env, self._stdin)
        except Failed as why:
            self._process, self._words = None, str(why)
            self._reactor.callLater(0, self._life.ended)

    def terminate(self) -> None:
        """For the machine: make the process end."""
        if self._process is not None:
            self._process.terminate(self._stop_seconds)

    def last_words(self) -> str:
        """For the machine: how it ended and the last it said, without secrets."""
        return redact(self._words, self._secrets)

    def _heard(self, line: bytes) -> None:
        try:
            if self._on_line is not None:
                self._on_line(line)
            ready = self.state in {"starting", "reviving"} and self._is_ready(line)
        except Exception:  # noqa: BLE001 - Twisted would close the pipe, and the child would choke
            log.failure("what listens to {child} is broken", child=self.name)
            return
        if ready:
            self._life.ready()

    def _ended(self, code: int, said: str) -> None:
        how = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
        self._process, self._words = None, f"{how}: {said}" if said else how
        self._life.ended()


class _Process(Leashed):
    """One life of a child: hears its lines, and tells of its end."""

    def __init__(self, reactor: IReactor, heard: Callable[[bytes], None], gone: Callable[[int, str], None]) -> None:
        super().__init__(reactor)
        self._heard, self._gone = heard, gone
        self._pipes = {1: Lines(), 2: Lines()}
        self._words = LastWords()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Both pipes are heard alike."""
        for line in self._pipes[childFD].feed(data):
            self._hear(line)

    def ended(self, code: int) -> None:
        """A last line may have no end."""
        for pipe in self._pipes.values():
            for line in pipe.end():
                self._hear(line)
        self._gone(code, self._words.tell())

    def _hear(self, line: bytes) -> None:
        self._words.add(line)
        self._heard(line)
