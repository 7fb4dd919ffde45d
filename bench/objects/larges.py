"""One large object up and down, and what many at once cost in memory."""

from collections.abc import Sequence
from contextlib import ExitStack

from bench import large
from bench.common import Table, in_rounds, ratios
from bench.memory import FILES, watched
from bench.objects.effort import MIB, Effort, settle
from bench.objects.limits import hashing, writing
from bench.objects.peer import Peer
from bench.objects.peers import JuiceFS, Nginx, Seaweed, Stor
from bench.objects.result import Result, Target
from tests.servers import RedisServer

ROW = "1 client"
SHA, DISK = "sha256, one core", "write and fsync"


def larges(effort: Effort) -> Result:
    """One client, one object."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        peers: list[Peer] = [Stor(), Nginx(), Seaweed(), JuiceFS(redis)]
        for peer in peers:
            stack.enter_context(peer)
        down, up = _down(peers, effort), _up(peers, effort)
    least = [min(both) for both in zip(up.rates.figures(ROW, SHA), up.rates.figures(ROW, DISK), strict=True)]
    beside = ratios(down.rates.figures(ROW, Stor.name), down.rates.figures(ROW, Nginx.name))
    bare = ratios(up.rates.figures(ROW, Stor.name), least)
    return Result(
        [*down.tables, *up.tables],
        [
            Target("1 GiB down, stor / nginx", beside, 0.8),
            Target(f"1 GiB up, stor / the slower of {SHA} and {DISK}", bare, 0.7),
        ],
    )


class _Transfers:
    """How fast large objects went, and what that cost the process that serves."""

    def __init__(self, title: str) -> None:
        self.rates = Table(f"{title}: MiB a second", (Stor.name,))
        self.costs = Table(f"{title}: processor seconds a GiB", (Stor.name,), "{:.2f}".format)

    def add(self, peer: Peer, transfer: large.Transfer) -> None:
        """Take one."""
        self.rates.add(ROW, peer.name, transfer.rate)
        self.costs.add(ROW, peer.name, transfer.cpu_seconds)

    @property
    def tables(self) -> list[Table]:
        """Both."""
        return [self.rates, self.costs]


def _down(peers: Sequence[Peer], effort: Effort) -> _Transfers:
    transfers = _Transfers(f"{effort.large_bytes // MIB:,} MiB down")
    for peer in peers:
        _put(peer, effort.large_bytes, 0)
        _get(peer, effort.large_bytes)  # so that it is in the kernel's cache
    settle()
    for peer in in_rounds(peers, effort.rounds):
        transfers.add(peer, _get(peer, effort.large_bytes))
    return transfers


def _up(peers: Sequence[Peer], effort: Effort) -> _Transfers:
    transfers = _Transfers(f"{effort.large_bytes // MIB:,} MiB up")
    for turn, peer in enumerate(in_rounds([*peers, None], effort.rounds), 1):
        settle()
        if peer is None:  # it is the machine's turn
            transfers.rates.add(ROW, SHA, hashing(effort.large_bytes))
            transfers.rates.add(ROW, DISK, writing(peers[0].folder, effort.large_bytes))
        else:
            transfers.add(peer, _put(peer, effort.large_bytes, turn))
    return transfers


def memory(effort: Effort) -> Result:
    """Memory that the process has while eight large objects go up, and down, at once."""
    table = Table(f"{FILES} objects of {effort.large_bytes // MIB:,} MiB at once: MiB resident", ())
    speeds = Table("and MiB a second, all together", ())
    with Stor() as stor:
        seen = watched(stor, lambda number: stor.path(f"large-{number}"), {**stor.headers("", "")}, effort.large_bytes)
    for name, figure in (("before", seen.before), ("at most, up", seen.up), ("at most, down", seen.down)):
        table.add(name, stor.name, figure / MIB)
    for name, seconds in (("up", seen.seconds_up), ("down", seen.seconds_down)):
        speeds.add(name, stor.name, FILES * effort.large_bytes / MIB / seconds)
    most = Target(
        f"MiB resident while {FILES} x 1 GiB go up and down", [max(seen.up, seen.down) / MIB], 150, is_cost=True
    )
    return Result([table, speeds], [most])


def _get(peer: Peer, size: int) -> large.Transfer:
    path = peer.path("large-0")
    return large.down(peer.port, peer.pid, path, peer.headers("GET", path), size)


def _put(peer: Peer, size: int, turn: int) -> large.Transfer:
    path = peer.path(f"large-{turn}")
    return large.up(peer.port, peer.pid, path, peer.headers("PUT", path), size, b"%d" % turn)
