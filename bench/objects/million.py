"""What an upload costs with a million objects, beside what it costs with none."""

from contextlib import ExitStack

from bench.common import in_rounds, ratios
from bench.objects import loads
from bench.objects.bulk import Bulk, preload
from bench.objects.effort import Effort, settle
from bench.objects.peer import content, key_of
from bench.objects.peers import Stor, StorPostgres
from bench.objects.result import Result, Samples, Target
from tests.postgres import PostgresServer

ROUNDS = 5  # the two are so near to each other that three do not tell them apart
WARM_SECONDS = 2.0


def million(effort: Effort) -> Result:
    """Uploads of 1 KiB to an empty store and to a full one, in turn, on both databases."""
    empty, full = "0 objects", f"{effort.objects:,} objects"
    samples, targets = Samples("PUT 1 KiB to a store with", [empty]), []
    with PostgresServer() as postgres:
        for pair in ((Stor(), Stor()), (StorPostgres(postgres), StorPostgres(postgres))):
            _measure(pair, effort, samples)
    for name in (Stor.name, StorPostgres.name):
        slower = ratios(samples.rates.figures(name, empty), samples.rates.figures(name, full))
        targets.append(Target(f"cost of an upload at {full} / at {empty}, {name}", slower, 1.3, is_cost=True))
    return Result(samples.tables, targets)


def _measure(pair: tuple[Stor, Stor], effort: Effort, samples: Samples) -> None:
    names = ("0 objects", f"{effort.objects:,} objects")
    with ExitStack() as stack:
        for peer in pair:
            stack.callback(peer.close)
        preload(pair[1], Bulk(effort.objects))
        settle()
        for peer in pair:
            peer.start()
            loads.uploads(peer, WARM_SECONDS)
        key = key_of("bulk", effort.objects // 2)
        if pair[1].get(key) != content(key):
            raise RuntimeError(f"{pair[1].name} does not give what was put into its database")
        for peer in in_rounds(pair, max(effort.rounds, ROUNDS) if effort.rounds > 1 else 1):
            settle()
            samples.add(peer.name, names[pair.index(peer)], loads.uploads(peer, effort.seconds))
