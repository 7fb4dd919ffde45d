"""Uploads and reads of 1 KiB by 64 clients."""

import contextlib
from collections.abc import Iterator, Sequence
from statistics import median

from bench.common import in_rounds, ratios
from bench.objects import loads
from bench.objects.effort import Effort, settle
from bench.objects.limits import syncing
from bench.objects.peer import Peer, key_of
from bench.objects.peers import JuiceFS, Nginx, Replay, Seaweed, SeaweedSynced, Stor, StorPostgres
from bench.objects.result import Result, Samples, Target
from tests.postgres import PostgresServer
from tests.servers import RedisServer

OURS = (Stor.name, StorPostgres.name)
WARM_SECONDS = 1.0
ROW = f"{loads.CLIENTS} clients"


@contextlib.contextmanager
def _databases() -> Iterator[list[Peer]]:
    """Start those that are in both measurements."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        yield [stack.enter_context(peer) for peer in (Stor(), StorPostgres(postgres), Replay(postgres))]


def uploads(effort: Effort) -> Result:
    """PUT 1 KiB, new keys and new contents."""
    samples, syncs = Samples("PUT 1 KiB", OURS), []
    with _databases() as databases, Seaweed() as seaweed, Nginx() as nginx:
        peers = [*databases, seaweed, SeaweedSynced(seaweed).start(), nginx]
        for peer in peers:
            loads.uploads(peer, WARM_SECONDS)
        for peer in in_rounds(peers, effort.rounds):
            settle()
            samples.add(ROW, peer.name, loads.uploads(peer, effort.seconds))
            if peer is nginx:
                syncs.append(syncing(nginx.folder, WARM_SECONDS))
    targets = []
    for limit, peer in ((5.0, Replay), (0.7, Seaweed)):
        targets += _rates(samples, "uploads of 1 KiB", peer.name, limit)
    return Result(
        samples.tables, targets, [f"The disk does {median(syncs):,.0f} fsyncs of 4 KiB a second, one by one."]
    )


def reads(effort: Effort) -> Result:
    """GET 1 KiB by key, of so many at random."""
    keys = [key_of("read", number) for number in range(effort.keys)]
    samples = Samples(f"GET 1 KiB of {effort.keys:,}", OURS)
    with (
        _databases() as databases,
        Seaweed() as seaweed,
        RedisServer() as redis,
        JuiceFS(redis) as juicefs,
        Nginx() as nginx,
    ):
        peers = [*databases, seaweed, juicefs, nginx]
        for peer in peers:
            peer.fill(keys)
            loads.reads(peer, keys, WARM_SECONDS)
        settle()
        for peer in in_rounds(peers, effort.rounds):
            samples.add(ROW, peer.name, loads.reads(peer, keys, effort.seconds))
    targets = []
    for limit, kind in ((1.0, Seaweed), (3.0, JuiceFS)):
        targets += _rates(samples, "GETs of 1 KiB", kind.name, limit)
    return Result(samples.tables, targets)


def _rates(samples: Samples, what: str, peer: str, limit: float) -> Sequence[Target]:
    """Set the rate and the p99 of stor on its defaults beside another's."""
    rates, tails = (
        ratios(table.figures(ROW, Stor.name), table.figures(ROW, peer)) for table in (samples.rates, samples.tails)
    )
    return [
        Target(f"{what}, stor / {peer}", rates, limit),
        Target(f"{what}, p99, stor / {peer}", tails, 1.0, is_cost=True),
    ]
