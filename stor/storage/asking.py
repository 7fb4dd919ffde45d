"""Signed requests for the keys of one bucket, asked again where that is safe."""

from __future__ import annotations

import random
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from stor.errors import ConfigError, StorError, Unavailable
from stor.storage.boto import BucketSettings
from stor.storage.connection import Answer, Lost, Request
from stor.storage.faults import CONFLICT, code_of, fault, is_passing
from stor.storage.http import Client, Server
from stor.storage.signing import UNSIGNED, Credentials, encoded, query_of, sign

_PAUSES = (0.1, 0.4)  # seconds, about, before it is asked again
_EMPTY = sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Upload:
    """A body to send: bytes, or `size` bytes that `open` gives piece by piece, anew each time it is called."""

    data: bytes = b""
    digest: str | None = _EMPTY  # lower-case hexadecimal SHA-256, where it is known; it is signed
    size: int = 0
    open: Callable[[], Callable[[], Awaitable[bytes]]] | None = None
    md5: str | None = None  # lower-case hexadecimal, where it is known; the server compares
    seconds: float = 0.0  # that sending it may take beside the usual


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last answer, and whether an earlier attempt may have done what was asked."""

    answer: Answer
    is_unsure: bool

    @property
    def error(self) -> StorError | None:
        """What it means, when it is no success."""
        if self.answer.status < 300:
            return None
        return fault(self.answer.status, self.code)

    @property
    def code(self) -> str:
        """The error's name, where the answer has one."""
        return code_of(self.answer.body) if isinstance(self.answer.body, bytes) else ""


class Asker(Service):
    """Asks the server of a bucket, as `credentials`, which are set before the first call."""

    credentials: Credentials

    def __init__(self, settings: BucketSettings, endpoint: str, reactor: Any) -> None:
        self._region, self._seconds, self._reactor = settings.region, settings.read_seconds, reactor
        url = urlsplit(endpoint)
        if url.hostname is None or url.scheme not in {"http", "https"}:
            raise ConfigError("an S3 endpoint is a URL with http or https and a host")
        is_path_style = settings.endpoint is not None or "." in settings.bucket  # which no wildcard certificate covers
        netloc = url.netloc.rpartition("@")[2]
        host, name = url.hostname, settings.bucket
        self._host = netloc if is_path_style else f"{name}.{netloc}"
        self._root = url.path.rstrip("/") + (f"/{encoded(name)}" if is_path_style else "")
        tls = url.scheme == "https"
        server = Server(
            host if is_path_style else f"{name}.{host}",
            url.port or (443 if tls else 80),
            tls,
            settings.ca_file,
            settings.connections,
            settings.connect_seconds,
            settings.read_seconds,
        )
        self._client = Client(server, reactor)
        # Whether it is there must be found out in less than a second, whatever the other connections wait for.
        self._checker = Client(replace(server, connections=2, connect_seconds=0.8, read_seconds=0.8), reactor)

    def startService(self) -> None:
        """Take calls."""
        super().startService()
        self._client.startService()
        self._checker.startService()

    def stopService(self) -> Deferred[None]:
        """Cut what is under way."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._client.stopService()
        await self._checker.stopService()

    async def ask(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        upload: Upload | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Give the answer, whatever its status; asked up to three times while the server is not well.

        Raises Unavailable: it cannot be reached, gives no sign of life in time, or cuts every attempt.
        """
        began, is_unsure = self._reactor.seconds(), False
        for pause in (*_PAUSES, None):
            try:
                answer = await self._client.ask(self._request(method, key, headers, upload, parameters))
                code = code_of(answer.body) if isinstance(answer.body, bytes) else ""
                if not is_passing(answer.status, code) or self._is_late(began, pause):
                    return Outcome(answer, is_unsure)
                is_unsure = is_unsure or code != CONFLICT
            except Lost:
                if self._is_late(began, pause):
                    raise
                is_unsure = True
            await deferLater(self._reactor, (pause or 0.0) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        raise AssertionError  # the last attempt has no pause, so it is always late

    def _is_late(self, began: float, pause: float | None) -> bool:
        return pause is None or self._reactor.seconds() - began > self._seconds / 2

    async def open(self) -> None:
        """Raise ConfigError when the bucket is not there, not ours or in another region."""
        answer = (await self.ask("HEAD", "", {})).answer
        _judge_bucket(answer, ConfigError)

    async def check(self) -> None:
        """Raise Unavailable when the bucket does not answer, as ours, within 0.8 s."""
        asked = Deferred.fromCoroutine(self._checker.ask(self._request("HEAD", "", {})))
        asked.addTimeout(0.8, self._reactor, onTimeoutCancel=_too_late)
        _judge_bucket(await asked, Unavailable)

    def _request(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        upload: Upload | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Request:
        path = f"{self._root}/{encoded(key, '/')}" if key else self._root or "/"
        query = query_of(parameters or {})
        digest = _EMPTY if upload is None else upload.digest or UNSIGNED
        said = {"host": self._host, **headers}
        if upload is not None and upload.md5 is not None:
            said["content-md5"] = b64encode(bytes.fromhex(upload.md5)).decode()
        signed = sign(self.credentials, self._region, method, path, query, said, digest, time.time())
        lines = [f"{method} {path}?{query} HTTP/1.1" if query else f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in signed.items()]
        if upload is not None:
            lines.append(f"content-length: {upload.size}")
        head = "\r\n".join([*lines, "\r\n"]).encode()
        if upload is None or upload.open is None:
            return Request(method, head + upload.data if upload else head)
        return Request(method, head, upload.open(), upload.seconds)


def _judge_bucket(answer: Answer, kind: type[ConfigError | Unavailable]) -> None:
    """Say what the answer to HEAD for the whole bucket means."""
    if answer.status in {301, 307}:
        region = answer.headers.get("x-amz-bucket-region", "another region")
        raise kind(f"the bucket is in {region}")
    if answer.status == 404:
        raise kind("the bucket does not exist")
    error = Outcome(answer, is_unsure=False).error
    if error is not None:
        raise kind(str(error)) if answer.status in {401, 403} else error


def _too_late(_: object, seconds: float) -> None:
    raise Unavailable(f"the storage did not answer within {seconds} s", retry_after=1.0)
