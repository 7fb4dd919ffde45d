"""The loads that wrk puts on a server: 64 clients that write or read 1 KiB as fast as they are answered."""

import secrets
from pathlib import Path

from bench.objects.peer import Peer, content, key_of
from bench.wrk import Sample, wrk

SCRIPT = Path(__file__).with_name("load.lua")
CLIENTS = 64
THREADS = 1


def uploads(peer: Peer, seconds: float, clients: int = CLIENTS) -> Sample:
    """PUT under new keys what was never there; RuntimeError when one is refused, or is not there afterwards."""
    nonce = secrets.token_hex(4)
    sample = _run(peer, seconds, clients, "write", peer.raw("PUT", "@KEY@", 1024), nonce)
    key = key_of(nonce, max(1, sample.requests // 2))
    if peer.get(key) != content(key):
        raise RuntimeError(f"{peer.name} gave back other bytes than it was given")
    return sample


def reads(peer: Peer, keys: list[str], seconds: float) -> Sample:
    """GET any of these keys; RuntimeError when one is refused, or the first is not what was put there."""
    if peer.get(keys[0]) != content(keys[0]):
        raise RuntimeError(f"{peer.name} gave back other bytes than it was given")
    return _run(peer, seconds, CLIENTS, "read", b"\0".join(peer.raw("GET", key) for key in keys))


def _run(peer: Peer, seconds: float, clients: int, kind: str, prepared: bytes, nonce: str = "") -> Sample:
    file = peer.folder / "prepared"
    file.touch(mode=0o600)  # a key stands in it
    file.write_bytes(prepared)
    return wrk(f"http://127.0.0.1:{peer.port}", seconds, clients, THREADS, SCRIPT, [kind, str(file), nonce])
