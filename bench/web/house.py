"""The web room alone, as it stands in the house: a guard with one API key, gauge, audit, metrics, access log.

usage: house.py PORT FILE, the key in the environment (KEY); routes /hot, /klein, /file (by sendfile), /read (by reads)
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from twisted.internet import epollreactor

epollreactor.install()  # before any other import of the reactor

from twisted.internet import reactor  # noqa: E402
from twisted.logger import Logger, globalLogBeginner  # noqa: E402

from stor.access.address import Trusted  # noqa: E402
from stor.access.attempts import Attempts  # noqa: E402
from stor.access.audit import Audit  # noqa: E402
from stor.access.credentials import Credentials  # noqa: E402
from stor.access.guard import Guard  # noqa: E402
from stor.access.known import Keys  # noqa: E402
from stor.access.principal import Principal  # noqa: E402
from stor.access.rates import Gauge, Rates  # noqa: E402
from stor.logs import observer  # noqa: E402
from stor.streams import FilePart  # noqa: E402
from stor.streams.disk import Descriptor  # noqa: E402
from stor.threads import Threads  # noqa: E402
from stor.web.accesslog import AccessLog, through  # noqa: E402
from stor.web.answer import Answer  # noqa: E402
from stor.web.call import Call  # noqa: E402
from stor.web.gate import Gate  # noqa: E402
from stor.web.limits import Limits  # noqa: E402
from stor.web.routes import Route  # noqa: E402
from stor.web.service import WebService  # noqa: E402
from stor.web.site import build_site  # noqa: E402

BODY = b"x" * 1024
PLAIN = ((b"content-type", b"text/plain"),)


class Reads:
    """A file part that does not say it is one."""

    def __init__(self, part: FilePart) -> None:
        self.length, self.read, self.close = part.length, part.read, part.close


class Part:
    """What is measured."""

    def __init__(self, file: Path, threads: Threads) -> None:
        self._file, self._threads = file, threads

    def routes(self) -> Iterable[Route]:
        """All for whoever has the key."""
        yield Route("GET", "/hot", self.small, "blobs:read", hot=True)
        yield Route("GET", "/klein", self.small, "blobs:read")
        yield Route("GET", "/file", self.file, "blobs:read", hot=True)
        yield Route("GET", "/read", self.read, "blobs:read", hot=True)

    async def small(self, call: Call) -> Answer:
        """1 KiB from memory."""
        return Answer(headers=PLAIN, body=BODY)

    async def file(self, call: Call) -> Answer:
        """The large file, by sendfile."""
        return Answer(body=self._part())

    async def read(self, call: Call) -> Answer:
        """The large file, by reads of 256 KiB."""
        return Answer(body=Reads(self._part()))

    def _part(self) -> FilePart:
        fd = os.open(self._file, os.O_RDONLY)
        return FilePart(Descriptor(fd), 0, os.fstat(fd).st_size, self._threads)


def main() -> None:
    """Serve until a signal."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    globalLogBeginner.beginLoggingTo([observer(sys.stdout, "json", "info")], redirectStandardIO=False)
    registry, threads = CollectorRegistry(), Threads("files", 4, reactor)
    threads.startService()
    keys = Keys({os.environ["KEY"]: Principal("bench", frozenset({"blobs:read"}))})
    guard = Guard(Credentials(keys=[keys]), Attempts(10, 60, reactor), registry)
    site = build_site(
        [Part(file, threads)],
        Limits(),
        AccessLog(through(Logger("stor.web")), reactor),
        registry,
        gate=Gate(guard, Gauge(Rates(), registry, reactor), Audit(Logger("stor.audit"), registry, reactor)),
        trusted=Trusted([]),
        reactor=reactor,
    )
    WebService(site, "127.0.0.1", port, reactor).startService()
    reactor.run()


main()
