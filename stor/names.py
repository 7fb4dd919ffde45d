"""Names are looked up in threads of their own: a name server that hangs may hold up lookups, and nothing else."""

from threading import Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet._resolver import GAIResolver
from twisted.python.threadpool import ThreadPool

THREADS = 4


class _Daemon(Thread):
    """A look-up that hangs must not keep the process from ending."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)


class Names(Service):
    """Installs a resolver that uses its own pool, for as long as it runs."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, THREADS, "names")
        self._pool.threadFactory = _Daemon
        self._before: Any = None

    def startService(self) -> None:
        """Start the threads, and have the reactor ask them."""
        super().startService()
        self._pool.start()
        self._before = self._reactor.installNameResolver(GAIResolver(self._reactor, lambda: self._pool))

    def stopService(self) -> None:
        """Give the reactor its own resolver back; a lookup that hangs is left to end by itself."""
        super().stopService()
        self._reactor.installNameResolver(self._before)
        for _ in range(self._pool.workers):
            self._pool.adjustPoolsize(0, 0)
