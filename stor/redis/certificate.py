"""The listener's certificate, read again when its files change; a bad new one leaves the old one standing."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from stor.errors import ConfigError

_LOOK_EVERY = 1.0  # seconds


def _context(certificate: Path, key: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate_chain_file(str(certificate))
    context.use_privatekey_file(str(key))
    context.check_privatekey()
    return context


@implementer(IOpenSSLContextFactory)
class Certificate:
    """A TLS context over two PEM files."""

    _context: SSL.Context

    def __init__(self, certificate: Path, key: Path, clock: IReactorTime) -> None:
        """Raises ConfigError when the files cannot be used."""
        self._files, self._clock = (certificate, key), clock
        self._looked, self._seen = clock.seconds(), self._stamp()
        try:
            self._context = _context(*self._files)
        except (SSL.Error, OSError) as why:
            raise ConfigError(f"cannot use {certificate} with {key} for TLS: {_reason(why)}") from None

    def getContext(self) -> SSL.Context:
        """Give the context for a new connection; the files are looked at once a second at most."""
        if self._clock.seconds() - self._looked >= _LOOK_EVERY:
            self.look()
        return self._context

    def look(self) -> None:
        """Read the files again if they have changed."""
        self._looked = self._clock.seconds()
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._context = _context(*self._files)
        except (SSL.Error, OSError) as why:
            Logger().error("the new certificate cannot be used, the old one stays: {why}", why=_reason(why))
        else:
            Logger().info("the certificate was read again")

    def _stamp(self) -> tuple[tuple[int, int] | None, ...]:
        stamps: list[tuple[int, int] | None] = []
        for path in self._files:
            try:
                found = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((found.st_mtime_ns, found.st_ino))
        return tuple(stamps)


def _reason(why: Exception) -> str:
    """OpenSSL's errors are lists of triples; the last word of each says what it is."""
    if isinstance(why, SSL.Error) and why.args and isinstance(why.args[0], list):
        return ", ".join(str(entry[-1]) for entry in why.args[0]) or "not a certificate and its key"
    return str(why)
