"""What clients of the blob API do all day, and what they were promised: nothing acknowledged may be missing."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import md5

from tests.blobs.processes import BlobServer
from tests.end_to_end.blob_clients import Clients

DELETED = b"(deleted)"
COUNTERS = 4


@dataclass
class Ledger:
    """What was acknowledged: of each path its last content, and those that may have come after it."""

    kept: dict[str, bytes] = field(default_factory=dict)
    perhaps: dict[str, list[bytes]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def note(self, path: str, content: bytes, code: int | None) -> None:
        """A put or a delete of a path that nobody else writes has ended with this code; None: with none."""
        if code in {200, 201, 204}:
            self.kept[path] = content
            self.perhaps.pop(path, None)
        elif code in {None, 503}:
            self.perhaps.setdefault(path, []).append(content)
        else:
            self.strange.append(f"{path}: {code}")

    def missing(self, path: str, live_md5: str | None) -> bool:
        """Tell whether what is there (None: deleted, or nothing) is not what was promised."""
        allowed = [*self.perhaps.get(path, []), self.kept.get(path, DELETED)]
        there = {None if content == DELETED else _etag(content) for content in allowed}
        return live_md5 not in there


class Load:
    """Workers that write until they are told to stop."""

    def __init__(self, clients: Clients, servers: Sequence[BlobServer], seed: int) -> None:
        self._clients, self._servers, self._dice = clients, servers, random.Random(seed)
        self._going = True
        self.ledger = Ledger()

    def stop(self) -> None:
        """Let each worker end what it does."""
        self._going = False

    async def run(self, workers: int) -> None:
        """Write with so many at once."""
        await asyncio.gather(*(self._worker(number) for number in range(workers)))

    async def _worker(self, number: int) -> None:
        paths: list[str] = []
        while self._going:
            server, dice = self._dice.choice(self._servers), self._dice.random()
            if dice < 0.2:
                await self._count(server, f"counters/{self._dice.randrange(COUNTERS)}")
            elif dice < 0.4 and paths:
                await self._put(server, self._dice.choice(paths))
            elif dice < 0.5 and paths:
                await self._delete(server, self._dice.choice(paths))
            else:
                paths.append(f"workers/{number}/{len(paths)}")
                await self._put(server, paths[-1])

    async def _put(self, server: BlobServer, path: str) -> None:
        content = self._dice.randbytes(40)
        self.ledger.note(path, content, await self._code(server, "PUT", path, content))

    async def _delete(self, server: BlobServer, path: str) -> None:
        code = await self._code(server, "DELETE", path)
        if code == 404 and path not in self.ledger.kept:
            return  # its put was never acknowledged, and has not happened
        self.ledger.note(path, DELETED, code)

    async def _count(self, server: BlobServer, path: str) -> None:
        """Add one to a number that many write, by compare and swap."""
        there = await self._clients.ask(server, "GET", f"/blob/{path}")
        if there is None or there.code == 503:
            await asyncio.sleep(0.05)
            return
        number, base = (int(there.body), there.headers["etag"].strip('"')) if there.code == 200 else (0, "new")
        code = await self._code(server, "PUT", path, str(number + 1).encode(), Content_MD5=base)
        if code in {200, 201}:
            self.ledger.counted[path] = self.ledger.counted.get(path, 0) + 1
        elif code in {None, 503}:
            self.ledger.uncounted[path] = self.ledger.uncounted.get(path, 0) + 1
        elif code != 412:
            self.ledger.strange.append(f"{path}: {code}")

    async def _code(self, server: BlobServer, method: str, path: str, body: bytes = b"", **headers: str) -> int | None:
        said = await self._clients.ask(server, method, f"/blob/{path}", body, **headers)
        if said is None or said.code == 503:
            await asyncio.sleep(0.05)
        return None if said is None else said.code


def _etag(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()
