"""The loads that wrk puts on a blob service, each for a fixed time."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from bench.blobs.peers import Peer, content
from bench.wrk import Sample, wrk

SCRIPT = Path(__file__).with_name("load.lua")
CLIENTS = 32
THREADS = 2
GET_FILES = 32


@dataclass(frozen=True)
class Load:
    """32 clients that do the same thing as fast as they are answered; `kind` is load.lua's word for it."""

    name: str
    kind: str

    def prepare(self, peer: Peer) -> None:
        """Put in place what is to be read or written over; the index has the same number of files ever after."""
        if self.kind == "get":
            for number in range(GET_FILES):
                _expect(peer, {200, 201}, "PUT", f"/blob/bench/get-{number:02d}", content(number))

    def run(self, peer: Peer, seconds: float) -> Sample:
        """Put it on a peer for so long; RuntimeError when one request was refused or lost."""
        etag = self._checked(peer)
        url = f"http://127.0.0.1:{peer.port}"
        words = [self.kind, peer.auth.token, secrets.token_hex(4), etag]
        return wrk(url, seconds, CLIENTS, THREADS, SCRIPT, words)

    def _checked(self, peer: Peer) -> str:
        """Ask once for what wrk is going to ask for: a fast wrong answer is none."""
        if self.kind == "get":
            found = _expect(peer, {200}, "GET", "/blob/bench/get-01")
            if found[1] != content(1):
                raise RuntimeError(f"{peer.name} gave back other bytes than it was given")
        if self.kind not in {"sync", "same"}:
            return ""
        _, index, etag = _expect(peer, {200}, "GET", "/sync")
        if len(json.loads(index)["files"]) < peer.files:
            raise RuntimeError(f"{peer.name} does not list all its files")
        if self.kind == "same" and etag:
            _expect(peer, {304}, "GET", "/sync", If_None_Match=etag)
        return etag or '"none"'


def _expect(
    peer: Peer, statuses: set[int], method: str, path: str, *body: bytes, **headers: str
) -> tuple[int, bytes, str]:
    answer = peer.request(method, path, *body, **headers)
    if answer[0] not in statuses:
        raise RuntimeError(f"{peer.name} answered {method} {path} by {answer[0]}: {answer[1][:200]!r}")
    return answer


LOADS = (
    Load("GET 1 KiB", "get"),
    Load("PUT 1 KiB over existing", "put"),
    Load("/sync", "sync"),
    Load("/sync, nothing changed", "same"),
    Load("PUT 1 KiB, new", "new"),  # last, since the index grows by it
)
