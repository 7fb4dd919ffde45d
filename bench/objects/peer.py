"""What is asked of each server: PUT and GET of keys, and contents that differ."""

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench import common
from bench.large import head

CLIENTS = 16


class Peer(common.Peer):
    """A server that keeps bytes under keys: PUT and GET of `path(key)`."""

    def path(self, key: str) -> str:
        """Say where a key is."""
        return f"/{key}"

    def headers(self, method: str, path: str) -> dict[str, str]:
        """Give what lets a request in."""
        return {}

    def raw(self, method: str, key: str, length: int | None = None) -> bytes:
        """Give a request as it stands on the wire, without its body."""
        fields = {"Host": f"127.0.0.1:{self.port}", **self.headers(method, self.path(key))}
        if length is not None:
            fields |= {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        return head(method, self.path(key), fields)

    def fill(self, keys: Sequence[str]) -> None:
        """PUT the content of each key, several at a time; RuntimeError when one is refused."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(self._put_each, (keys[first::CLIENTS] for first in range(CLIENTS))))

    def _put_each(self, keys: Sequence[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for key in keys:
            path, plain = self.path(key), {"Content-Type": "application/octet-stream"}
            connection.request("PUT", path, content(key), plain | self.headers("PUT", path))
            answer = connection.getresponse()
            said = answer.read()
            if answer.status not in {200, 201, 204}:
                raise RuntimeError(f"{self.name} answered a PUT by {answer.status}: {said[:200]!r}")
        connection.close()

    def get(self, key: str) -> bytes:
        """Read one key; RuntimeError when it is not there."""
        connection, path = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30), self.path(key)
        connection.request("GET", path, headers=self.headers("GET", path))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name} answered a GET by {answer.status}: {body[:200]!r}")
        return body

    def config(self, name: str, text: str) -> str:
        """Write a file that only this user can read; return its path."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)


def key_of(nonce: str, number: int) -> str:
    """Name one of many keys: those of two numbers that follow each other are far from each other."""
    return f"{number * 2654435761 % (1 << 32):08x}-{nonce}-{number}"


def content(key: str) -> bytes:
    """1 KiB, another one for each key."""
    return (f"{key}-" * 64)[:1024].encode()
